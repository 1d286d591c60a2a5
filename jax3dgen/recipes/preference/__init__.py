"""Preference tuning of 3D generators by the stability of their own samples (DSO)."""

"""Preference losses and the pairs they are computed on."""

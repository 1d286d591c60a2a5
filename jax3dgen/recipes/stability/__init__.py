"""Stability sweeps, stabilised meshes, and the comparison of physics engines."""

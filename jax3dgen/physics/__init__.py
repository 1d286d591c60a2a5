"""Layer 4: meshes as rigid bodies, drop tests, and stability losses."""

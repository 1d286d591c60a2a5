"""Layer 3: meshes as rigid bodies, and whether they stand."""

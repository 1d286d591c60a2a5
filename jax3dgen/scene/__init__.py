"""Layer 2: fields, rendering, meshes."""

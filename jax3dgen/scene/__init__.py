"""Layer 3: radiance fields, volume rendering, triangle meshes."""

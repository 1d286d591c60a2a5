"""Layer 5: what a person opens: meshes, films, pages."""

"""Layer 6: mesh files, images, videos, tables and HTML pages."""

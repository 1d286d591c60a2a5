"""Layer 6: metrics of images, shapes, poses and stability."""

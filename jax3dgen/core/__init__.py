"""Layer 0: types, trees, random streams, cameras, images, devices. Imports nothing of jax3dgen."""

"""3D generators as pure functions: rectified flows over voxel latents."""

"""Layer 2: diffusion priors as records of pure functions."""

"""Layer 3: diffusion priors as records of pure functions."""

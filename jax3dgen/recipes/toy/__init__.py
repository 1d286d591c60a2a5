"""Studies of the objectives on priors with an exact score."""

"""Layer 2: published weights, read into parameters."""

"""Layer 5: what measures a result."""

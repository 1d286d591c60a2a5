"""Layer 2: converters of published weights to parameters."""

"""Layer 6: steps, loops, checkpoints, whole runs."""

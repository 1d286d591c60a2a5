"""Layer 5: score distillation objectives, one file each."""

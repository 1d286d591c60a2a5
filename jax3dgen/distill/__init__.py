"""Layer 4: score distillation objectives, one file each."""

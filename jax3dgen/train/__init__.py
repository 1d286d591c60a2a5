"""Layer 1: the training loop, logs, checkpoints, optimisers and the working directory."""

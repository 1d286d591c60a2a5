"""Configs of the small nets that `experiments/train_net` trains."""

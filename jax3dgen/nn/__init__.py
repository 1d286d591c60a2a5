"""Layer 1: linen networks. No input or output, no configs."""

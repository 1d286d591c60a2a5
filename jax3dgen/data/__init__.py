"""Layer 5: the procedural world and its captions."""

"""Layer 6: procedural figurines and solids, captions, prompts."""

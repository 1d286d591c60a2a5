"""Layer 4: pretrained image and text-image networks, and pose classifiers."""

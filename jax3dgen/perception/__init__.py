"""Layer 4: image and text-image networks, pose classifiers, contrastive losses."""

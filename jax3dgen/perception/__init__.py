"""Layer 3: what pictures show, by features that were never told the pose."""

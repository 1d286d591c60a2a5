"""MJCF, MuJoCo's XML: read by `reader` from what `text` makes of a file, written by `writer`."""

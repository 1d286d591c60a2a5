"""Timings, as ratios against a peer in one run: `python -m benchmarks.run`."""

"""Objectives side by side on the same prompts and seeds."""

"""Preference tuning of a multi-view prior (MV-D3PO): rollout, score, tune, evaluate."""

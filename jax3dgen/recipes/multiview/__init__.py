"""Preference tuning of a multi-view prior (MV-D3PO): rounds of rollout > score > tune > evaluate."""

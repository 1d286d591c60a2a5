"""Configs: one file per experiment, with get_config(variant)."""

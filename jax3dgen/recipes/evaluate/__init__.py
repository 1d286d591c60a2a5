"""Figures of finished objects, as the papers measure them."""

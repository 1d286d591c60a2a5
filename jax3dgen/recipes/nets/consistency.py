"""Placeholder."""
from jax3dgen.recipes.nets import ship


def default_config():
  c = ship.default_config(); c.weights = ''; return c.lock()
NET = None

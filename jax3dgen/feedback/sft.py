"""Supervised fine-tuning on the winners alone."""

import jax.numpy as jnp

from jax3dgen.feedback import flow_loss


def loss(velocity, params, win, cond, t, eps_win):
  """The mean over B winners of their error l."""
  v, target = flow_loss.predict(velocity, params, win, cond, t, eps_win)
  return jnp.mean(flow_loss.mean_square(v - target))

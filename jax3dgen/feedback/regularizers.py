"""Terms that keep a tuned velocity near the reference's; neither is in DSO.

v and v_ref are [B, ...] at the same x_t. Both terms are in the units of `flow_loss`'s errors.
"""

import jax
import jax.numpy as jnp

from jax3dgen.feedback import flow_loss


def anchor(v, v_ref):
  """The mean over rows of (v - v_ref)^2.

  On B pairs (2 B rows) the sum of DRO and `weight` times this is bounded below for weight > 2.
  """
  return jnp.mean(flow_loss.mean_square(v - jax.lax.stop_gradient(v_ref)))


def growth(v, v_ref):
  """A hinge: the mean over rows of how much the mean square of v exceeds that of v_ref."""
  excess = flow_loss.mean_square(v) - flow_loss.mean_square(jax.lax.stop_gradient(v_ref))
  return jnp.mean(jnp.maximum(excess, 0.0))

"""Guidance by a reward on a linear flow, whose estimates are known."""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.types import Cond
from jax3dgen.feedback import reward
from jax3dgen.generator import base, flow

SHAPE = (2, 2, 2, 2)
TOKENS = Cond(jnp.zeros((3, 1, 1)))


def point_mass(x0):
  return base.Generator(None, None, lambda p, x, t, c: (x - x0[None]) / flow.broadcast(t, x), None,
                        None, SHAPE)


def test_the_clean_estimate_moves_by_the_scale():
  """Of a flow to one point with one step in the interval: x_0 is that point plus scale * sign."""
  x0 = jax.random.normal(jax.random.key(0), SHAPE)
  noise = jax.random.normal(jax.random.key(1), (3, *SHAPE))
  adjust = reward.toward(lambda x: x, lambda o: o.sum((1, 2, 3, 4)), 0.1, (0.0, 0.3))
  got = flow.integrate(noise, point_mass(x0), {}, TOKENS, TOKENS, 4, 1.0, 0.0, adjust=adjust)
  slope = jax.nn.sigmoid(x0) * (1 - jax.nn.sigmoid(x0))
  want = x0 + 0.1 * slope / jnp.sqrt(jnp.mean(slope**2))
  np.testing.assert_allclose(got, jnp.broadcast_to(want[None], got.shape), atol=1e-5)


def test_outside_the_interval_nothing_changes():
  x0 = jax.random.normal(jax.random.key(0), SHAPE)
  noise = jax.random.normal(jax.random.key(1), (3, *SHAPE))
  adjust = reward.toward(lambda x: x, lambda o: o.sum((1, 2, 3, 4)), 0.1, (0.0, 0.2))
  got = flow.integrate(noise, point_mass(x0), {}, TOKENS, TOKENS, 4, 1.0, 0.0, adjust=adjust)
  np.testing.assert_allclose(got, jnp.broadcast_to(x0[None], got.shape), atol=1e-5)


def test_rewards_without_gradient_change_nothing():
  for value in (lambda o: 0 * o.sum((1, 2, 3, 4)), lambda o: jnp.nan * o.sum((1, 2, 3, 4))):
    adjust = reward.toward(lambda x: x, value, 0.1, (0.0, 1.0))
    x, v = jnp.ones((3, *SHAPE)), jnp.full((3, *SHAPE), 0.5)
    np.testing.assert_array_equal(adjust(x, jnp.full(3, 0.5), v), v)

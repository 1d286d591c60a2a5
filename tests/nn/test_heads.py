"""The small dense network against autodiff of the same product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.nn import heads


def plain(params, x):
  return params['w1'] @ jnp.maximum(params['w0'] @ x, 0.0)


def test_shapes_range_and_value():
  params = jax.jit(heads.init, static_argnums=1)(jax.random.key(0), (6, 8, 4))
  assert jax.tree.map(jnp.shape, params) == {'w0': (8, 6), 'w1': (4, 8)}
  assert jnp.abs(params['w0']).max() <= 6**-0.5 and jnp.abs(params['w0']).max() > 0.3
  x = np.random.default_rng(1).normal(size=(6, 20)).astype(np.float32)
  np.testing.assert_allclose(heads.apply(params, x), plain(params, x), atol=1e-6)


@pytest.mark.parametrize('widths', [(6, 8, 4), (3, 3, 5)])
def test_derivatives_to_second_order(widths):
  params = jax.jit(heads.init, static_argnums=1)(jax.random.key(0), widths)
  x = np.random.default_rng(1).normal(size=(widths[0], 20)).astype(np.float32)

  def slope(params, x, apply):
    return jnp.sum(jnp.sin(jax.grad(lambda x: jnp.sum(jnp.tanh(apply(params, x))))(x)))

  for loss in (lambda p, x, apply: jnp.sum(jnp.tanh(apply(p, x))), slope):
    ours, theirs = (jax.jit(jax.grad(loss, (0, 1)), static_argnums=2)(params, x, apply)
                    for apply in (heads.apply, plain))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
      np.testing.assert_allclose(a, b, atol=2e-5)

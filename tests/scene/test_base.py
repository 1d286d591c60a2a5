"""Density activations and blobs against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.scene import base


def test_magic3d_blob_values():
  # Magic3D: 10 (1 - |x| / 0.5).
  radius = jnp.array([0.0, 0.25, 0.5, 1.0])
  bias = base.blob_magic3d(radius**2)
  np.testing.assert_allclose(bias, [10.0, 5.0, 0.0, -10.0], atol=1e-5)
  density = base.ACTIVATIONS['softplus'](bias)
  np.testing.assert_allclose(density[2:], [np.log(2.0), 4.54e-5], rtol=1e-3)


def test_dreamfusion_blob_values():
  # DreamFusion: 10 exp(-|x|^2 / (2 * 0.5^2)).
  radius = jnp.array([0.0, 0.5, 1.0])
  np.testing.assert_allclose(base.blob_dreamfusion(radius**2),
                             10.0 * np.exp([0.0, -0.5, -2.0]), rtol=1e-6)


@pytest.mark.parametrize('name', list(base.BLOBS))
def test_blobs_have_finite_gradients_at_the_centre(name):
  gradient = jax.grad(lambda x: base.BLOBS[name](jnp.sum(x * x)))
  assert jnp.isfinite(gradient(jnp.zeros(3))).all()
  assert jnp.isfinite(gradient(jnp.full(3, 1e-20))).all()


def test_truncated_exp_is_exp_below_and_finite_above_its_limit():
  x = jnp.array([-20.0, 0.0, 3.0, 15.0, 100.0])
  np.testing.assert_allclose(base.truncated_exp(x), np.exp(np.minimum(x, 15.0)), rtol=1e-6)
  slope = jax.vmap(jax.grad(base.truncated_exp))(x)
  np.testing.assert_allclose(slope, np.exp(np.minimum(x, 15.0)), rtol=1e-6)

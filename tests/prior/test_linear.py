"""The linear stand-in for an encoder: exact for linear ones, a least squares fit for others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jax3dgen.core import image as images
from jax3dgen.prior import base, embedded, linear

KERNEL, BIAS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), 0.3


def prior_of(encode):
  return base.Prior(None, None, None, encode, None, None)


def shrunk(params, picture):
  return images.resize(picture, (16, 16)) @ KERNEL + BIAS


def test_a_linear_encoder_is_found_and_repeated():
  prior = prior_of(shrunk)
  fitted = linear.fit(prior, None)
  np.testing.assert_allclose(fitted['kernel'], KERNEL, atol=1e-5)
  np.testing.assert_allclose(fitted['bias'], np.full(4, BIAS), atol=1e-5)
  picture = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
  np.testing.assert_allclose(linear.encode(fitted, picture, (16, 16)), shrunk(None, picture),
                             atol=1e-5)


def test_the_map_of_the_shipped_prior_is_2_x_minus_1():
  prior, params, _ = embedded.load()
  fitted = linear.fit(prior, params)
  np.testing.assert_allclose(fitted['kernel'], 2 * np.eye(3), atol=1e-5)
  np.testing.assert_allclose(fitted['bias'], -np.ones(3), atol=1e-5)


def test_the_map_is_the_least_squares_fit_of_a_nonlinear_encoder():
  curved = lambda params, picture: jnp.sin(3 * shrunk(None, picture))
  fitted = linear.fit(prior_of(curved), None)
  colours = jax.random.uniform(jax.random.key(0), (linear.PICTURES, linear.PATCHES, linear.PATCHES,
                                                   3))
  pictures = images.resize(colours, (linear.PIXELS, linear.PIXELS))
  cells = np.asarray(images.resize(pictures, (16, 16)), np.float64).reshape(-1, 3)
  targets = np.asarray(curved(None, pictures), np.float64).reshape(-1, 4)
  for channel in range(4):
    away = lambda p, c=channel: cells @ p[:3] + p[3] - targets[:, c]
    best = optimize.least_squares(away, np.zeros(4)).x
    np.testing.assert_allclose([*fitted['kernel'][:, channel], fitted['bias'][channel]], best,
                               atol=1e-4)


@pytest.mark.parametrize('size', [(16, 16), (8, 4)])
def test_gradients_reach_the_picture(size):
  picture = jax.random.uniform(jax.random.key(1), (1, 16, 16, 3))
  fitted = {'kernel': jnp.asarray(KERNEL), 'bias': jnp.zeros(4)}
  slope = jax.grad(lambda x: linear.encode(fitted, x, size).sum())(picture)
  np.testing.assert_allclose(slope.sum((1, 2))[0], size[0] * size[1] * KERNEL.sum(1), rtol=1e-4)

"""Faults of images against scipy and their own definitions."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from jax3dgen.data import degradations, prompts

IMAGE = np.random.default_rng(0).uniform(0.2, 0.8, (1, 32, 32, 3)).astype(np.float32)
_degrade = jax.jit(degradations.degrade)


def degrade(name):
  index = jnp.array([prompts.DEGRADATIONS.index(name)])
  return np.asarray(_degrade(jax.random.key(0), jnp.asarray(IMAGE), index))


def test_none_changes_nothing():
  np.testing.assert_allclose(degrade(''), IMAGE, atol=1e-6)


def test_blurry_is_a_gaussian():
  sigma = degradations.BLUR * 32
  expected = np.stack([ndimage.gaussian_filter(IMAGE[0, ..., c], sigma, truncate=8)
                       for c in range(3)], -1)
  inner = slice(6, -6)  # the borders are handled otherwise
  np.testing.assert_allclose(degrade('blurry')[0, inner, inner], expected[inner, inner], atol=2e-3)


def test_pixelated_has_flat_blocks():
  x = degrade('pixelated')[0].reshape(8, 4, 8, 4, 3)
  mean = IMAGE[0].reshape(8, 4, 8, 4, 3).mean((1, 3))
  np.testing.assert_allclose(x, np.broadcast_to(mean[:, None, :, None], x.shape), atol=1e-5)


def test_noisy_has_the_stated_spread():
  noise = degrade('noisy') - IMAGE
  middle = np.abs(IMAGE - 0.5) < 0.02  # where clipping at 0 and 1 hardly matters
  assert abs(noise[middle].std() - degradations.NOISE) < 0.04


def test_oversaturated_spreads_the_colours():
  assert np.ptp(degrade('oversaturated'), axis=-1).mean() > 1.8 * np.ptp(IMAGE, axis=-1).mean()


def test_foggy_is_pale_and_flat():
  x = degrade('foggy')
  np.testing.assert_allclose(x.std(), (1 - degradations.FOG) * IMAGE.std(), rtol=1e-3)
  assert x.mean() > IMAGE.mean()

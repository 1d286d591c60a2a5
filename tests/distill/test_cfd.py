"""Noise that lies on the surface: the same for all cameras, white over places, slowly renewed."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
from scipy import stats

from jax3dgen.distill import base, cfd
from tests.fakes import gaussian

MEAN, STD, COND, T = 0.2, 0.7, 0.5, 0.6
ALPHA, SIGMA = np.cos(0.5 * np.pi * T), np.sin(0.5 * np.pi * T)
PRIOR, PARAMS = gaussian.prior(MEAN, STD)
CELL = cfd.DEFAULTS['cell']
SEED = jnp.float32(37)


def noise(points, step=0, refresh=0.0, channels=3):
  return np.asarray(cfd.surface_noise(SEED, jnp.asarray(points, jnp.float32), channels, step, CELL,
                                      refresh))


def cells(count):
  """Middles [1, n, n, 3] of count^2 different cells."""
  i = (np.arange(count) - count // 2 + 0.5) * CELL
  return np.stack(np.broadcast_arrays(i[:, None], i[None], CELL / 2), -1)[None]


def test_a_cell_has_one_noise_in_every_order_of_points():
  points = cells(8)
  order = np.random.default_rng(0).permutation(8)
  np.testing.assert_array_equal(noise(points[:, order] + 0.4 * CELL), noise(points)[:, order])


def test_noise_is_standard_normal_and_independent_between_cells():
  values = noise(cells(64))[0]
  assert stats.kstest(values.ravel(), 'norm').pvalue > 1e-3
  assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.03
  assert abs(np.corrcoef(values[..., 0].ravel(), values[..., 1].ravel())[0, 1]) < 0.05


def test_a_share_of_the_cells_is_renewed_in_each_step():
  points = cells(64)
  renewed = np.mean([(noise(points, i, 0.2) != noise(points, i + 1, 0.2)).all(-1).mean()
                     for i in range(5)])
  assert abs(renewed - 0.2) < 0.02  # of 20,480 cells
  np.testing.assert_array_equal(noise(points, 0), noise(points, 1000))


def test_direction_has_the_mean_of_sds():
  x0 = np.full((4, 32, 32, 1), MEAN + 0.4, np.float32)
  view = gaussian.view(jnp.asarray(x0), T, base.classifier_free, shift=COND)
  # Two views see different places, the third sees nothing, the fourth what the first does.
  points = np.concatenate([cells(32), cells(32)[:, :, :, ::-1] * 0.9, np.full((1, 32, 32, 3), 5.0),
                           cells(32)])
  view = view.replace(points=jnp.asarray(0.5 * points))
  state = cfd.init(jax.random.key(0), PARAMS, None)
  cfg = ConfigDict(cfd.DEFAULTS | {'clip': False, 'cell': CELL / 2})
  g, after, _ = cfd.direction(jax.random.key(1), view, PRIOR, PARAMS, state, cfg)
  assert after is state
  np.testing.assert_array_equal(g[0], g[3])
  expected = SIGMA * ALPHA * SIGMA * (0.4 - 4.0 * COND) / (ALPHA**2 * STD**2 + SIGMA**2)
  pixels = np.asarray(g[:3])
  assert abs(pixels.mean() - expected) < 3 * pixels.std() / np.sqrt(pixels.size)

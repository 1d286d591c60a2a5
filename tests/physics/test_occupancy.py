"""The margin of occupancies against hulls by scipy, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import spatial

from jax3dgen.physics import occupancy

R = 16
MARGIN = jax.jit(occupancy.margin)


def blocks(seed):
  """A stack of random boxes of voxels, float32 [R, R, R]."""
  rng = np.random.default_rng(seed)
  body, z = np.zeros((R, R, R), np.float32), rng.integers(1, 3)
  for _ in range(3):
    low, side = rng.integers(1, 8, 2), rng.integers(3, 8, 2)
    height = rng.integers(2, 4)
    body[low[0]:low[0] + side[0], low[1]:low[1] + side[1], z:z + height] = 1
    z += height
  return body


def exact(body):
  """atan(e / h) of a binary body by the hull of the corners of its lowest voxels."""
  index = np.argwhere(body > 0.5)
  corner = (index + 0.5) / R - 0.5
  center, sole = corner.mean(0), index[:, 2].min()
  base = index[index[:, 2] == sole][:, :2]
  points = np.concatenate([base + [i, j] for i in (0, 1) for j in (0, 1)]) / R - 0.5
  hull = points[spatial.ConvexHull(points).vertices]
  turn = np.linspace(0, 2 * np.pi, 3600)
  direction = np.stack([np.cos(turn), np.sin(turn)])
  edge = ((hull - center[:2]) @ direction).max(0).min()  # the signed distance from the polygon
  return np.arctan2(edge, center[2] - (sole / R - 0.5))


def test_margins_are_those_of_hulls():
  bodies = np.stack([blocks(seed) for seed in range(40)])
  got, want = np.asarray(MARGIN(bodies)), np.array([exact(body) for body in bodies])
  assert 5 < (want < 0).sum() < 35  # both kinds occur
  np.testing.assert_allclose(got, want, atol=0.03)
  assert ((got > 0) == (want > 0))[np.abs(want) > 0.03].all()


def test_a_column_tips_at_half_its_width_over_half_its_height():
  body = np.zeros((1, R, R, R), np.float32)
  body[0, 6:10, 6:10, 2:14] = 1
  np.testing.assert_allclose(MARGIN(body), [np.arctan2(2, 6)], atol=0.01)


def test_gradients_ask_for_less_overhang():
  body = np.full((1, R, R, R), 1e-3, np.float32)
  body[0, 6:10, 6:10, 2:14] = 0.98
  body[0, 6:13, 6:10, 12:14] = 0.98  # an overhang towards +x
  slope = np.asarray(jax.jit(jax.grad(lambda x: occupancy.margin(x).sum()))(jnp.asarray(body)))[0]
  assert np.isfinite(slope).all()
  assert slope[12, 7, 13] < 0  # the overhang
  assert slope[3, 7, 5] > 0  # a low counterweight


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_empty_and_full_grids_are_finite(value):
  got = MARGIN(np.full((1, R, R, R), value, np.float32))
  assert np.isfinite(got).all()

"""T3Bench: the sphere of cameras, the smoothing over it, and the scores."""

import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Mesh
from jax3dgen.metrics import t3bench


@pytest.mark.parametrize('subdivisions, count', [(0, 12), (1, 42), (2, 162)])
def test_the_sphere(subdivisions, count):
  directions, neighbours = t3bench.sphere(subdivisions)
  assert directions.shape == (count, 3)
  np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-6)
  assert sorted(map(len, neighbours))[:12] == [5] * 12 and max(map(len, neighbours)) <= 6
  for i, near in enumerate(neighbours):  # symmetric, and of the nearest
    assert all(i in neighbours[j] for j in near)
    others = np.argsort(-(directions @ directions[i]))[1:1 + len(near)]
    assert set(others) == set(near)


def test_viewpoints_look_at_the_middle_and_stand_upright():
  directions, _ = t3bench.sphere(2)
  camera = t3bench.viewpoints(directions, t3bench.RADIUS, 36.0)
  pose = np.asarray(camera.c2w)
  np.testing.assert_allclose(pose[:, :3, 3], 2.2 * directions, atol=1e-6)
  np.testing.assert_allclose(pose[:, :3, 2], directions, atol=1e-6)
  np.testing.assert_allclose(np.linalg.det(pose[:, :3, :3]), 1, rtol=1e-5)
  assert (pose[:, 2, 1] >= -1e-6).all()
  np.testing.assert_allclose(camera.fovy, np.deg2rad(36.0), rtol=1e-6)
  assert t3bench.CAPTION_RADIUS == pytest.approx(4.84)
  np.testing.assert_allclose(np.asarray(camera.azimuth), np.arctan2(*directions.T[[1, 0]]),
                             atol=1e-5)


def test_a_view_from_straight_above_is_finite():
  pose = np.asarray(t3bench.viewpoints(np.array([[0.0, 0.0, 1.0]]), 2.2, 60.0).c2w)
  assert np.isfinite(pose).all()


def test_normalized_is_about_its_mean_and_reaches_one():
  vertices = np.random.default_rng(0).uniform(3, 9, (40, 3)).astype(np.float32)
  mesh = t3bench.normalize(Mesh(vertices, np.arange(39).reshape(-1, 3)))
  np.testing.assert_allclose(mesh.vertices.mean(0), 0, atol=1e-6)
  assert np.abs(mesh.vertices).max() == pytest.approx(1)
  ratio = np.ptp(mesh.vertices, 0) / np.ptp(vertices, 0)
  np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
  with pytest.raises(ConfigError, match='coincide'):
    t3bench.normalize(Mesh(np.ones((3, 3), np.float32), np.array([[0, 1, 2]])))


def test_smoothing_keeps_constants_and_is_a_matrix():
  _, neighbours = t3bench.sphere(1)
  np.testing.assert_allclose(t3bench.smooth(np.full(42, 0.3), neighbours), 0.3)
  matrix = np.eye(42)
  for i, near in enumerate(neighbours):
    matrix[i, near] = 1
  matrix /= matrix.sum(1, keepdims=True)
  x = np.random.default_rng(0).normal(size=42)
  np.testing.assert_allclose(t3bench.smooth(x, neighbours),
                             np.linalg.matrix_power(matrix, 3) @ x)
  np.testing.assert_array_equal(t3bench.smooth(x, neighbours, 0), x)


@pytest.mark.parametrize('reward', [-1.0, 0.0, 0.7])
def test_a_constant_reward_r_scores_20_r_plus_50(reward):
  _, neighbours = t3bench.sphere(2)
  assert t3bench.quality(np.full((162, 5), reward), neighbours) == pytest.approx(20 * reward + 50)


def test_quality_takes_the_best_field_of_view_first():
  _, neighbours = t3bench.sphere(0)
  rewards = np.zeros((12, 5))
  rewards[np.arange(12), np.arange(12) % 5] = 1.0  # each place is good in another field
  assert t3bench.quality(rewards, neighbours) == pytest.approx(70)


def test_alignment_is_a_scale_of_0_to_100():
  assert [t3bench.alignment(s) for s in (1, 3, 5)] == [0, 50, 100]
  for wrong in (0, 5.5, float('nan')):
    with pytest.raises(ConfigError, match='from 1 to 5'):
      t3bench.alignment(wrong)

"""Moments against numpy, the distance against scipy's matrix root and closed forms."""

import numpy as np
import pytest
from scipy import linalg

from jax3dgen.core.errors import ConfigError
from jax3dgen.metrics import frechet


def features(count, size=5, seed=0, shift=0.0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) + 100.0 + shift


def test_streaming_is_exact_however_the_set_is_cut():
  rows = features(211).astype(np.float32)
  whole = frechet.stream(lambda x: x, np.split(rows, [1, 3, 50, 51, 190]))
  assert whole.count == 211
  np.testing.assert_allclose(whole.mean, rows.astype(np.float64).mean(0), rtol=1e-12)
  np.testing.assert_allclose(frechet.covariance(whole), np.cov(rows.astype(np.float64).T),
                             rtol=1e-9)
  other = frechet.merge(frechet.moments(rows[100:]), frechet.moments(rows[:100]))
  np.testing.assert_allclose(other.scatter, whole.scatter, rtol=1e-9)
  with pytest.raises(ConfigError, match='no pictures'):
    frechet.stream(lambda x: x, [])
  with pytest.raises(ConfigError, match='two pictures'):
    frechet.covariance(frechet.moments(rows[:1]))


def test_empty_moments_change_nothing():
  moments = frechet.moments(features(9))
  empty = frechet.Moments(0, np.zeros(5), np.zeros((5, 5)))
  assert frechet.merge(empty, moments) is moments and frechet.merge(moments, empty) is moments


def test_distance_is_that_of_scipy_s_root():
  a, b = frechet.moments(features(60)), frechet.moments(features(80, seed=1, shift=0.5))
  first, second = frechet.covariance(a), frechet.covariance(b)
  root = np.real(linalg.sqrtm(first @ second))
  want = ((a.mean - b.mean)**2).sum() + np.trace(first + second - 2 * root)
  assert frechet.distance(a, b) == pytest.approx(want, rel=1e-6)
  assert frechet.distance(b, a) == pytest.approx(want, rel=1e-6)
  assert frechet.distance(a, a) == pytest.approx(0, abs=1e-6)


def test_distance_of_gaussians_with_commuting_covariances():
  """sum (m - n)^2 + (s - t)^2 of standard deviations s and t along the same axes."""
  turn = linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
  of = lambda mean, std, count: frechet.Moments(
      count, turn @ mean, (count - 1) * turn @ np.diag(np.square(std)) @ turn.T)
  m, s, n, t = np.array([[1, 2, 3], [1, 0.5, 2], [0, 2, 1], [0.2, 1.5, 0]], float)
  want = ((m - n)**2 + (s - t)**2).sum()  # the last t makes it singular
  assert frechet.distance(of(m, s, 10), of(n, t, 30)) == pytest.approx(want, rel=1e-9)


def test_fewer_pictures_than_features_still_have_a_distance():
  few = frechet.moments(features(4, size=20))
  assert frechet.distance(few, few) == pytest.approx(0, abs=1e-6)
  assert frechet.distance(few, frechet.moments(features(4, size=20, seed=2))) > 1


@pytest.mark.parametrize('counts', [(50, 5, 3, 2), (4, 4, 4, 4), (9, 0, 3, 0)])
def test_resampling_draws_every_pose_equally_often(counts):
  poses = np.random.default_rng(0).permutation(np.repeat(np.arange(4), counts))
  index, available = frechet.equal_poses(poses, 4, seed=3)
  assert tuple(available) == counts
  share = sum(counts) // 4
  assert np.bincount(poses[index], minlength=4).tolist() == [share if c else 0 for c in counts]
  for k, count in enumerate(counts):
    times = np.unique(index[poses[index] == k], return_counts=True)[1]
    if count >= share:
      assert (times == 1).all()
    elif count:  # duplicates, evenly
      assert len(times) == count and times.max() - times.min() <= 1
  again = frechet.equal_poses(poses, 4, seed=3)[0]
  np.testing.assert_array_equal(index, again)

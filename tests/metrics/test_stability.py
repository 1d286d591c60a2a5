"""Rates, means and confusions against loops over single runs."""

import numpy as np
import pytest

from jax3dgen.metrics import stability


def runs(meshes=5, count=40, seed=0):
  """Rotations, some NaN, some exactly 20, and which runs diverged."""
  random = np.random.default_rng(seed)
  rotation = random.choice([0.1, 5.0, 19.999, 20.0, 21.0, 90.0, 180.0], (meshes, count))
  diverged = random.random((meshes, count)) < 0.2
  rotation[diverged] = np.where(random.random(diverged.sum()) < 0.5, np.nan, 3.0)
  diverged[-1], rotation[-1] = True, np.nan
  return rotation, diverged


@pytest.mark.parametrize('threshold', [5.0, 20.0, 100.0])
def test_summary_is_that_of_a_loop(threshold):
  rotation, diverged = runs()
  summary = stability.summary(rotation, diverged, threshold)
  for i in range(len(rotation)):
    stands = [bool(r < threshold and not d) for r, d in zip(rotation[i], diverged[i])]
    angles = [r for r, d in zip(rotation[i], diverged[i]) if not d]
    assert summary.stable_rate[i] == sum(stands) / len(stands)
    assert summary.diverged[i] == sum(diverged[i])
    mean, most = (sum(angles) / len(angles), max(angles)) if angles else (np.nan, np.nan)
    np.testing.assert_allclose(summary.rotation_deg_mean[i], mean)
    np.testing.assert_equal(summary.rotation_deg_max[i], most)
    np.testing.assert_array_equal(stability.stable(rotation, diverged, threshold)[i], stands)
  assert summary.stable_rate[-1] == 0 and np.isnan(summary.rotation_deg_max[-1])


def test_what_diverged_is_never_stable():
  """Whatever its rotation says, be it that of a body that was put back to its start."""
  assert not stability.stable(np.zeros((2, 3)), np.ones((2, 3), bool)).any()
  assert not stability.stable(np.full((2, 3), np.nan), np.zeros((2, 3), bool)).any()
  assert stability.stable([[19.999, 20.0]], [[False, False]]).tolist() == [[True, False]]


def test_means_weigh_meshes_alike_and_skip_what_has_no_rotation():
  means = stability.means(stability.summary(*runs()))
  summary = stability.summary(*runs())
  assert means.stable_rate == sum(summary.stable_rate) / 5
  np.testing.assert_allclose(means.rotation_deg, sum(summary.rotation_deg_mean[:4]) / 4)
  nothing = stability.means(stability.summary(np.full((2, 3), np.nan), np.ones((2, 3), bool)))
  assert nothing.stable_rate == 0 and np.isnan(nothing.rotation_deg)


def test_rates_by_maximum_tilt_take_the_runs_below_it():
  """A mesh that falls from 0.03 rad on and one that never falls; two tilts lie on a maximum, one
  of them after rounding to single precision, upwards."""
  angle = np.array([0.0, 0.005, 0.01, 0.015, 0.025, 0.035, 0.06, 0.08])
  axis = np.random.default_rng(0).normal(size=(8, 3))
  axis[2] = 1, 0, 0
  tilts = angle[:, None] * axis / np.linalg.norm(axis, axis=1, keepdims=True)
  tilts[7] = 0, 0, np.nextafter(np.float32(0.08), np.float32(1))
  assert np.linalg.norm(tilts[7]) > 0.08
  rates = stability.by_max_tilt(np.stack([angle < 0.03, angle >= 0]), tilts)
  np.testing.assert_allclose(rates.max_tilt, (0.01, 0.02, 0.04, 0.08))
  assert rates.runs.tolist() == [3, 4, 6, 8]
  np.testing.assert_allclose(rates.stable_rate, (1, 1, (5 / 6 + 1) / 2, (5 / 8 + 1) / 2))
  empty = stability.by_max_tilt(np.ones((2, 1), bool), np.array([(0.05, 0, 0)]))
  assert empty.runs.tolist() == [0, 0, 0, 1] and np.isnan(empty.stable_rate[:3]).all()


def test_even_angles_below_a_maximum_are_an_even_sample():
  """What the docstring claims: for a body that falls from 0.03 rad on, 0.03 / 0.04 stand."""
  random = np.random.default_rng(0)
  angle, azimuth = random.uniform(-0.08, 0.08, 20000), random.uniform(0, 2 * np.pi, 20000)
  tilts = np.stack([np.cos(azimuth), np.sin(azimuth), 0 * azimuth], 1) * angle[:, None]
  rates = stability.by_max_tilt(np.abs(angle)[None] < 0.03, tilts)
  np.testing.assert_allclose(rates.stable_rate, (1, 1, 0.03 / 0.04, 0.03 / 0.08), atol=0.02)


def test_confusion_is_that_of_a_loop():
  random = np.random.default_rng(0)
  reference, other = random.random((2, 7, 30)) < 0.6
  counts = stability.confusion(reference, other)
  pairs = list(zip(reference.ravel(), other.ravel()))
  assert counts == (pairs.count((True, True)), pairs.count((False, False)),
                    pairs.count((False, True)), pairs.count((True, False)))
  assert counts.total == 210
  assert counts.agreement == sum(a == b for a, b in pairs) / 210
  swapped = stability.confusion(other, reference)
  assert (swapped.falsely_stable, swapped.agreement) == (counts.falsely_unstable, counts.agreement)
  assert np.isnan(stability.confusion(np.zeros(0), np.zeros(0)).agreement)
  with pytest.raises(ValueError, match='not comparable'):
    stability.confusion(np.zeros((2, 3)), np.zeros(3))

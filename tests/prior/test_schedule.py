"""Noise schedules."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.prior import schedule

T = jnp.linspace(0.01, 0.99, 23)


@pytest.mark.parametrize('which', [schedule.COSINE, schedule.FLOW])
def test_noise_grows_and_signal_falls(which):
  ends = jnp.array([0.0, 1.0])
  np.testing.assert_allclose(which.alpha(ends), [1, 0], atol=1e-6)
  np.testing.assert_allclose(which.sigma(ends), [0, 1], atol=1e-6)
  assert (np.diff(schedule.snr(which, T)) < 0).all()
  assert 0 < which.safe_range[0] < which.safe_range[1] < 1
  assert hash(which) == hash(which)


def test_cosine_preserves_variance_and_flow_the_sum():
  np.testing.assert_allclose(schedule.COSINE.alpha(T) ** 2 + schedule.COSINE.sigma(T) ** 2, 1.0,
                             rtol=1e-6)
  np.testing.assert_allclose(schedule.FLOW.alpha(T) + schedule.FLOW.sigma(T), 1.0, rtol=1e-6)


def test_min_snr_weight_is_the_ratio_of_the_paper_and_finite_at_the_ends():
  ratio = np.asarray(schedule.snr(schedule.COSINE, T), np.float64)
  np.testing.assert_allclose(schedule.min_snr_v(schedule.COSINE, T, 5.0),
                             np.minimum(ratio, 5.0) / (ratio + 1.0), rtol=1e-4)
  np.testing.assert_allclose(schedule.min_snr_v(schedule.COSINE, jnp.array([0.0, 1.0]), 5.0), 0.0,
                             atol=1e-6)

"""Noise schedules."""

import diffusers
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.errors import WeightError
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


@pytest.mark.parametrize('config', [
    {'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear'},
    {'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear',
     'rescale_betas_zero_snr': True},
    {}])
def test_published_levels_are_those_of_diffusers(config):
  theirs = diffusers.DDIMScheduler(**config).alphas_cumprod.numpy()
  ours = schedule.discrete(schedule.betas(config))
  t = jnp.arange(1000) / 1000
  np.testing.assert_allclose(ours.alpha(t) ** 2, theirs, atol=2e-6)
  np.testing.assert_allclose(ours.sigma(t) ** 2, 1 - theirs, atol=2e-6)
  low, high = ours.safe_range
  assert low == 0 and ours.alpha(high) >= 0.009  # where alpha is 0, there is no clean estimate
  assert (high == 0.999) != ('rescale_betas_zero_snr' in config or not config)


def test_levels_are_read_at_the_index_of_the_network():
  indices = schedule.index(jnp.array([0.0, 0.0004, 0.0006, 0.4996, 0.999, 1.0]), 1000)
  np.testing.assert_array_equal(indices, [0, 0, 1, 500, 999, 999])


@pytest.mark.parametrize('config', [{'beta_schedule': 'squaredcos_cap_v2'}, {'beta_start': 'x'},
                                    {'trained_betas': [0.1]}, {'num_train_timesteps': None}])
def test_unknown_levels_are_refused(config):
  with pytest.raises(WeightError, match='beta_schedule'):
    schedule.betas(config)

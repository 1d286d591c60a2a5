import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base, sds
from tests.fakes import gaussian

STATE = base.DistillState({}, {})


def config(**fields):
  return ConfigDict({'guidance': 1.0, 'weighting': 'sds', 'clip': False} | fields)


@pytest.mark.parametrize('t', [0.3, 0.7])
@pytest.mark.parametrize('weighting', ['sds', 'uniform', 'fantasia3d', 'sigma'])
def test_mean_direction_on_a_gaussian_prior(t, weighting):
  # E[g] = w alpha sigma (x_0 - m) / (alpha^2 s^2 + sigma^2), within 3 standard errors.
  mean, std, away = 0.2, 0.7, 0.5
  prior, params = gaussian.prior(mean, std)
  view = gaussian.view(jnp.full((4000, 2, 2, 1), mean + away), t, base.classifier_free)
  g, _, _ = sds.direction(jax.random.key(3), view, prior, params, STATE,
                          config(weighting=weighting))
  alpha, sigma = np.cos(np.pi * t / 2), np.sin(np.pi * t / 2)
  w = {'sds': sigma**2, 'uniform': 1.0, 'fantasia3d': alpha * sigma**2, 'sigma': sigma}[weighting]
  variance = alpha**2 * std**2 + sigma**2
  expected = w * alpha * sigma * away / variance
  error = w * abs(sigma**2 / variance - 1) / np.sqrt(g.size)  # Cov(g) = w^2 M M^T
  np.testing.assert_allclose(g.mean(), expected, atol=3 * error)
  np.testing.assert_allclose(g.std(), error * np.sqrt(g.size), rtol=0.03)


def test_clipped_direction_points_from_the_clipped_estimate_to_the_render():
  prior, params = gaussian.prior(3.0, 0.1)  # the prior's images lie outside the range
  x0 = jax.random.uniform(jax.random.key(4), (2, 4, 4, 3), minval=-1.0)
  view = gaussian.view(x0, 0.5, base.classifier_free)
  g, _, _ = sds.direction(jax.random.key(5), view, prior, params, STATE,
                          config(weighting='sigma', clip=True))
  np.testing.assert_allclose(g, np.cos(np.pi / 4) * (x0 - 1.0), rtol=1e-4, atol=1e-5)


def test_clip_changes_nothing_inside_the_range():
  prior, params = gaussian.prior(0.0, 0.05)
  x0 = 0.1 * jax.random.normal(jax.random.key(6), (2, 4, 4, 3))
  view = gaussian.view(x0, 0.3, base.classifier_free)
  plain, clipped = (sds.direction(jax.random.key(7), view, prior, params, STATE, config(clip=c))[0]
                    for c in (False, True))
  np.testing.assert_allclose(plain, clipped, rtol=1e-4, atol=1e-5)


def test_unknown_weighting_is_refused():
  prior, params = gaussian.prior(0.0, 1.0)
  view = gaussian.view(jnp.ones((1, 2, 2, 1)), 0.5, base.classifier_free)
  with pytest.raises(ConfigError, match='none of sds, uniform, fantasia3d, sigma'):
    sds.direction(jax.random.key(9), view, prior, params, STATE, config(weighting='no'))

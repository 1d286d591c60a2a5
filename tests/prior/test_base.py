"""Conversions between eps, x_0, v and flow, and the arithmetic of guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.types import Cond
from jax3dgen.prior import base, schedule
from tests.fakes import gaussian

T = jnp.array([0.1, 0.5, 0.9])
X0, EPS = (jax.random.normal(jax.random.key(i), (3, 4, 4, 2)) for i in range(2))


@pytest.mark.parametrize('which', [schedule.COSINE, schedule.FLOW])
@pytest.mark.parametrize('output', sorted(base.TO_EPS))
def test_every_parameterisation_gives_back_eps(which, output):
  x_t = base.add_noise(which, X0, T, EPS)
  target = {'eps': EPS, 'x0': X0, 'v': base.velocity(which, X0, T, EPS), 'flow': EPS - X0}[output]
  if output == 'v' and which is schedule.FLOW:  # v belongs to the variance-preserving circle
    alpha, sigma = base.coefficients(which, T, X0)
    assert not np.allclose(alpha**2 + sigma**2, 1.0)
  predict = base.as_eps(lambda params, x, t, cond: target, which, output)
  eps = predict(None, x_t, T, None)
  np.testing.assert_allclose(eps, EPS, atol=2e-5)
  np.testing.assert_allclose(base.x0_from_eps(which, x_t, T, eps), X0, atol=1e-4)


def test_predict_keeps_the_dtype_and_refuses_another_shape():
  predict = base.as_eps(lambda params, x, t, cond: X0, schedule.COSINE, 'v')
  assert predict(None, X0.astype(jnp.bfloat16), T, None).dtype == jnp.bfloat16
  with pytest.raises(AssertionError):
    base.as_eps(lambda params, x, t, cond: X0[:, :2], schedule.COSINE, 'eps')(None, X0, T, None)


def test_broadcast_follows_the_rank():
  for rank in range(1, 6):
    assert base.broadcast(T, jnp.zeros((3,) + (2,) * (rank - 1))).shape == (3,) + (1,) * (rank - 1)


def test_guidance_scales():
  null, cond = X0, EPS
  np.testing.assert_allclose(base.guide(null, cond, 0.0), null)
  np.testing.assert_allclose(base.guide(null, cond, 1.0), cond, atol=1e-6)
  # The other convention, cond + s (cond - null), is s + 1 in this one.
  np.testing.assert_allclose(base.guide(null, cond, 3.5), cond + 2.5 * (cond - null), atol=1e-5)


def test_guided_gaussians_are_the_linear_combination():
  prior, params = gaussian.prior(0.3, 0.5)
  shift, none = jnp.array([0.2, 0.4, -0.1]), jnp.zeros(3)
  predict = lambda cond: prior.predict(params, X0, T, cond)
  want = predict(none) + 4.0 * (predict(shift) - predict(none))
  got = base.predict_guided(prior, params, X0, T, shift, none, 4.0)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_guided_takes_conds_with_and_without_extra():
  def predict(params, x, t, cond):
    assert cond.tokens.shape == (6, 2, 1)
    return x * base.broadcast(cond.tokens[:, 0, 0], x)
  prior = gaussian.prior(0.0, 1.0)[0]._replace(predict=predict)
  for extra in (None, jnp.zeros((3, 5))):
    cond, null = Cond(jnp.full((3, 2, 1), 2.0), extra), Cond(jnp.ones((3, 2, 1)), extra)
    np.testing.assert_allclose(base.predict_guided(prior, None, X0, T, cond, null, 3.0), 4.0 * X0,
                               atol=1e-5)


def test_gaussian_eps_implies_the_posterior_mean():
  """Tweedie: x_0 of the optimal eps is m + alpha S (x - alpha m) / (alpha^2 S + sigma^2)."""
  mean, std = 0.3, 0.7
  prior, params = gaussian.prior(mean, std)
  x0 = base.x0_from_eps(prior.schedule, EPS, T, prior.predict(params, EPS, T, jnp.zeros(3)))
  alpha, sigma = base.coefficients(prior.schedule, T, EPS)
  want = mean + alpha * std**2 * (EPS - alpha * mean) / (alpha**2 * std**2 + sigma**2)
  np.testing.assert_allclose(x0, want, atol=1e-5)


def test_perpendicular_parts_are_perpendicular():
  part = base.perpendicular(X0, EPS)
  np.testing.assert_allclose((part * EPS).sum((1, 2, 3)), 0, atol=1e-4)
  np.testing.assert_allclose(base.perpendicular(2 * EPS, EPS), 0, atol=1e-5)


def test_guided_combines_predictions_in_one_call():
  """eps of condition c is c times a pattern of its own; written out by hand in NumPy."""
  patterns = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype(np.float32)
  calls = []

  def predict(params, x, t, cond):
    calls.append(len(x))
    return jnp.einsum('bk,khwc->bhwc', cond, patterns)

  prior = gaussian.prior(0.0, 1.0)[0]._replace(predict=predict)
  null, cond, negative = (jnp.tile(row, (3, 1)) for row in np.eye(3, dtype=np.float32)[:, None])
  toward, away = patterns[1] - patterns[0], patterns[2] - patterns[0]
  across = away - toward * (away * toward).sum() / (toward**2).sum()
  run = lambda *args: np.asarray(base.guided_predictor(prior, {}, cond, *args)(X0, T))[0]
  np.testing.assert_allclose(run(None, 4.0), patterns[1], atol=1e-5)
  plain = patterns[0] + 4 * toward
  np.testing.assert_allclose(run(null, 4.0), plain, atol=1e-5)
  np.testing.assert_allclose(run(null, 4.0, 0.7), plain * (
      0.3 + 0.7 * patterns[1].std() / plain.std()), atol=1e-4)
  np.testing.assert_allclose(run(null, 4.0, 0.0, negative), patterns[0] + 4 * (toward - across),
                             atol=1e-4)
  assert calls == [3, 6, 6, 9]

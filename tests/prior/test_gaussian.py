"""Exact mixtures against Tweedie by autodiff, quadrature and RecDreamer's rectified marginals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.prior import base, gaussian, sampler, schedule

MEANS, STDS, WEIGHTS = [[-2.0], [0.0], [1.5]], [0.3, 0.5, 0.2], [0.7, 0.2, 0.1]
WHOLE = -1


def rows(x, t, cond=WHOLE):
  x = np.asarray(x, float).reshape(-1, 1, 1, 1)
  return x, np.full(len(x), t, float), np.full(len(x), cond, np.int32)


def densities(prior, params):
  """The compiled function of `rows` that gives the density [N] and the posterior [N, 3]."""
  both = jax.jit(lambda x, t, cond: (gaussian.log_density(prior, params, x, t, cond),
                                     gaussian.posterior(prior, params, x, t)))

  def at(*rows):
    log_density, posterior = both(*rows)
    return np.exp(log_density), np.asarray(posterior)
  return at


@pytest.mark.parametrize('noise', [schedule.COSINE, schedule.FLOW])
@pytest.mark.parametrize('cond', [-1, 0, 2])
def test_prediction_is_the_score_of_the_density(x64, cond, noise):
  # eps = -sigma grad log p_t, for any number of components.
  prior, params = gaussian.mixture([[0.5, -1.0], [2.0, 1.0], [0, 0]], STDS, WEIGHTS, noise)
  x = np.random.default_rng(0).normal(size=(20, 1, 1, 2))
  t, cond = np.full(20, 0.4), np.full(20, cond, np.int32)
  log_p = lambda x: gaussian.log_density(prior, params, x, t, cond).sum()
  both = jax.jit(lambda x: (prior.predict(params, x, t, cond), jax.grad(log_p)(x)))
  predictions, slopes = both(x)
  np.testing.assert_allclose(predictions, -noise.sigma(0.4) * slopes, rtol=1e-6, atol=1e-9)


def test_tweedie_of_one_gaussian():
  # x0_hat = m + alpha S C^-1 (x - alpha m), C = alpha^2 S + sigma^2 I.
  prior, params = gaussian.mixture([[0.5, -1.0]], [0.7], [1.0])
  x = np.random.default_rng(0).normal(size=(8, 1, 1, 2)).astype(np.float32)
  t = np.full(8, 0.3, np.float32)
  alpha, sigma = np.cos(0.15 * np.pi), np.sin(0.15 * np.pi)
  mean = np.array([0.5, -1.0])
  gain = alpha * 0.49 / (alpha**2 * 0.49 + sigma**2)
  expected = mean + gain * (x - alpha * mean)
  estimate = jax.jit(lambda x: base.x0_from_eps(
      prior.schedule, x, t, prior.predict(params, x, t, jnp.zeros(8, jnp.int32))))
  np.testing.assert_allclose(estimate(x), expected, atol=1e-5)


def test_density_integrates_to_one_and_the_posterior_to_the_weights(x64):
  # p_t(c = k) = pi_k at every t.
  prior, params = gaussian.mixture(MEANS, STDS, WEIGHTS)
  grid = np.linspace(-12, 12, 6001)
  both = densities(prior, params)
  for t in (0.01, 0.3, 0.9):
    density, posterior = both(*rows(grid, t))
    np.testing.assert_allclose(np.trapezoid(density, grid), 1, atol=1e-6)
    share = posterior * density[:, None]
    np.testing.assert_allclose(np.trapezoid(share, grid, axis=0), WEIGHTS, atol=1e-6)


def test_samples_have_the_moments_of_the_mixture():
  prior, params = gaussian.mixture(MEANS, STDS, WEIGHTS)
  sample = jax.jit(gaussian.sample)
  x = np.asarray(sample(jax.random.key(1), params, np.full(40_000, WHOLE, np.int32)))
  mean = np.dot(WEIGHTS, np.ravel(MEANS))
  second = np.dot(WEIGHTS, np.square(np.ravel(MEANS)) + np.square(STDS))
  np.testing.assert_allclose(x.mean(), mean, atol=4 * np.sqrt(second / len(x)))
  np.testing.assert_allclose((x**2).mean(), second, rtol=0.02)
  one = np.asarray(sample(jax.random.key(2), params, np.full(4000, 2, np.int32)))
  np.testing.assert_allclose((one.mean(), one.std()), (1.5, 0.2), atol=0.02)


def test_weights_as_a_condition_are_those_of_another_mixture():
  prior, params = gaussian.mixture(MEANS, STDS, WEIGHTS)
  other, its = gaussian.mixture(MEANS, STDS, [0.5, 0.0, 0.5])
  x, t, whole = rows(np.linspace(-3, 3, 11), 0.4)
  weights = np.tile(np.float32([[0.5, 0.0, 0.5]]), (11, 1))
  predictions = jax.jit(lambda x: (prior.predict(params, x, t, weights),
                                   other.predict(its, x, t, whole)))(x)
  np.testing.assert_allclose(*predictions, rtol=1e-6)
  samples = np.ravel(jax.jit(gaussian.sample)(jax.random.key(0), params,
                                              np.tile(weights[:1], (2000, 1))))
  assert abs((samples > 0).mean() - 0.5) < 0.05 and not (np.abs(samples) < 0.3).any()


def test_ddim_on_the_exact_score_returns_the_mixture():
  prior, params = gaussian.mixture(MEANS, STDS, WEIGHTS)
  cond = jnp.full(4000, WHOLE, jnp.int32)
  x = jax.jit(lambda key: sampler.ddim(key, prior, params, cond, None, (4000, 1, 1, 1), 100, 1.0))(
      jax.random.key(3))
  nearest = np.abs(np.asarray(x).reshape(-1, 1) - np.ravel(MEANS)).argmin(1)
  np.testing.assert_allclose(np.bincount(nearest) / 4000, WEIGHTS, atol=0.03)


def test_rebalanced_mixture_and_control_are_changes_of_the_score(x64):
  """eps - sigma grad log r, r = sum_k f_k / pi_k p(k | x), is the eps of the mixture of weights f;
  with p(k | x) for r it is that of component k (classifier guidance)."""
  prior, params = gaussian.mixture(MEANS, STDS, WEIGHTS)
  balanced, its = gaussian.mixture(MEANS, STDS, [1, 1, 1])
  x, t, cond = rows(np.linspace(-3, 3, 41), 0.35)
  share = lambda x: gaussian.posterior(prior, params, x, t)
  ratio = 1 / 3 / np.array(WEIGHTS)
  sigma = prior.schedule.sigma(0.35)
  pull = jax.grad(lambda x: jnp.log(share(x) @ ratio).sum())
  pairs = jax.jit(lambda x: (prior.predict(params, x, t, cond) - sigma * pull(x),
                             balanced.predict(its, x, t, cond)))(x)
  np.testing.assert_allclose(*pairs, atol=1e-8)

  @jax.jit
  def guided(x, k):
    pull = jax.grad(lambda x: jnp.log(share(x)[:, k]).sum())
    return (prior.predict(params, x, t, cond) - sigma * pull(x),
            prior.predict(params, x, t, jnp.full_like(cond, k)))
  for k in range(3):
    np.testing.assert_allclose(*guided(x, k), atol=1e-7)


def test_the_marginal_of_the_rectified_joint_is_the_target(x64):
  # Theorems 1 and 2 of RecDreamer in the form that holds for soft posteriors.
  prior, params = gaussian.mixture(MEANS, STDS, WEIGHTS)
  grid, both = np.linspace(-12, 12, 6001), densities(prior, params)
  for t in (0.0, 0.8):
    density, posterior = both(*rows(grid, t))
    joint = posterior * density[:, None]
    joint = joint / 3 / np.array(WEIGHTS)
    np.testing.assert_allclose(np.trapezoid(joint, grid, axis=0), 1 / 3, atol=1e-6)

"""Gaussian mixtures as priors with an exact score, for tests and toy problems.

x_0 is drawn from component k with probability weights[k] and then from N(means[k], stds[k]^2 I), so
x_t is a mixture, too, and the optimal noise prediction is -sigma(t) grad log p_t(x_t). Samples are
[B, 1, 1, D]; a condition is int32 [B], a component or -1 for the whole mixture, or weights [B, K],
which sum to 1.
"""

import jax
import jax.numpy as jnp

from jax3dgen.prior import base, schedule


def mixture(means, stds, weights, noise=schedule.COSINE):
  """(Prior, params) of a mixture: means [K, D], stds [K], weights [K] (normalised here)."""
  weights = jnp.asarray(weights, jnp.float32)
  params = {'means': jnp.asarray(means, jnp.float32), 'stds': jnp.asarray(stds, jnp.float32),
            'log_weights': jnp.log(weights / weights.sum())}

  def predict(params, x_t, t, cond):
    away, variance = _spread(params, noise, x_t, t)
    share = jax.nn.softmax(_log_terms(params, noise, x_t, t, cond), -1)
    eps = noise.sigma(t)[:, None] * jnp.sum((share / variance)[..., None] * away, 1)
    return eps.reshape(x_t.shape)

  prior = base.Prior(
      init=lambda key: params, embed=lambda params, ids: ids, predict=predict,
      encode=lambda params, image: image, decode=lambda params, x0: x0, schedule=noise)
  return prior, params


def log_density(prior, params, x_t, t, cond):
  """log p_t(x_t | cond) [B] of x_t [B, 1, 1, D] at t [B] under a mixture prior."""
  return jax.nn.logsumexp(_log_terms(params, prior.schedule, x_t, t, cond), -1)


def posterior(prior, params, x_t, t):
  """p_t(k | x_t) [B, K] of the components of the whole mixture."""
  whole = jnp.full(x_t.shape[:1], -1, jnp.int32)
  return jax.nn.softmax(_log_terms(params, prior.schedule, x_t, t, whole), -1)


def sample(key, params, cond):
  """Clean samples [B, 1, 1, D] for conditions [B] or [B, K]."""
  which, noise = jax.random.split(key)
  k = jax.random.categorical(which, _log_weights(params, cond))
  eps = jax.random.normal(noise, k.shape + params['means'].shape[1:])
  return (params['means'][k] + params['stds'][k][:, None] * eps)[:, None, None, :]


def _spread(params, noise, x_t, t):
  """(x_t less the mean [B, K, D], variance [B, K]) of every component at t [B]."""
  alpha, sigma = noise.alpha(t), noise.sigma(t)
  away = x_t.reshape(x_t.shape[0], 1, -1) - alpha[:, None, None] * params['means'][None]
  return away, alpha[:, None]**2 * params['stds'][None]**2 + sigma[:, None]**2


def _log_terms(params, noise, x_t, t, cond):
  """log of weight times density of every component [B, K]; -inf for those that cond excludes."""
  away, variance = _spread(params, noise, x_t, t)
  size = params['means'].shape[1]
  log_normal = -0.5 * (jnp.sum(away**2, -1) / variance + size * jnp.log(2 * jnp.pi * variance))
  return _log_weights(params, cond) + log_normal


def _log_weights(params, cond):
  """Log weights [B, K] of the components under conditions [B] or [B, K]."""
  if cond.ndim == 2:
    return jnp.log(cond)
  match = jnp.arange(len(params['stds']))[None] == cond[:, None]
  return jnp.where(cond[:, None] < 0, params['log_weights'][None], jnp.where(match, 0.0, -jnp.inf))

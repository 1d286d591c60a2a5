"""The Prior record, and conversions between noise, data and velocity predictions.

x_t = alpha(t) x_0 + sigma(t) eps with t in [0, 1], 0 = clean. Arrays are [B, ..., C], t is [B].
A network may predict eps, x_0, v = alpha eps - sigma x_0 (Salimans & Ho 2022) or the flow velocity
u = eps - x_0 (rectified flow, x_t = (1 - t) x_0 + t eps); `as_eps` turns each into eps, so that no
objective branches on it.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Schedule(NamedTuple):
  """alpha and sigma map t [...] to [...]; samplers keep t within safe_range."""
  alpha: Callable
  sigma: Callable
  safe_range: tuple


class Prior(NamedTuple):
  """A pretrained image prior.

  init (key) -> params; embed (params, ids | image) -> Cond; predict (params, x_t [B,h,w,c], t [B],
  cond) -> eps [B,h,w,c] in the dtype of x_t; encode (params, image [B,H,W,3] in [0,1]) -> x_0
  [B,h,w,c], differentiable; decode its inverse. params['text'], where there is one, is for embed
  and attention alone. attention (params, key, image, ids) -> cross-attention [B,h,w] of each
  position to the words, a rough mask of the object that they name; None for a prior without it.
  """
  init: Callable
  embed: Callable
  predict: Callable
  encode: Callable
  decode: Callable
  schedule: Schedule
  attention: Callable | None = None


def broadcast(values, x):
  """values [B] shaped to multiply x [B, ...]."""
  return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


def coefficients(schedule, t, x):
  """(alpha, sigma) at t [B], shaped to multiply x [B, ...] and in its dtype."""
  return tuple(broadcast(f(t), x).astype(x.dtype) for f in (schedule.alpha, schedule.sigma))


def add_noise(schedule, x0, t, eps):
  """x_t = alpha x0 + sigma eps, [B, ...], of clean x0 [B, ...] and noise eps at t [B]."""
  alpha, sigma = coefficients(schedule, t, x0)
  return alpha * x0 + sigma * eps


def x0_from_eps(schedule, x_t, t, eps):
  """The clean estimate that eps implies (Tweedie's mean for the best eps); alpha must not be 0."""
  alpha, sigma = coefficients(schedule, t, x_t)
  return (x_t - sigma * eps) / alpha


def eps_from_x0(schedule, x_t, t, x0):
  """The noise that a clean estimate implies; sigma must not be 0."""
  alpha, sigma = coefficients(schedule, t, x_t)
  return (x_t - alpha * x0) / sigma


def velocity(schedule, x0, t, eps):
  """v = alpha eps - sigma x_0, the target of a v-network."""
  alpha, sigma = coefficients(schedule, t, x0)
  return alpha * eps - sigma * x0


def eps_from_v(schedule, x_t, t, v):
  """eps of a v-prediction. Divides by alpha^2 + sigma^2, 1 where the variance is preserved."""
  alpha, sigma = coefficients(schedule, t, x_t)
  return (sigma * x_t + alpha * v) / (alpha**2 + sigma**2)


def eps_from_flow(schedule, x_t, t, u):
  """eps of a velocity prediction u = eps - x_0: x_t + alpha u = (alpha + sigma) eps."""
  alpha, sigma = coefficients(schedule, t, x_t)
  return (x_t + alpha * u) / (alpha + sigma)


TO_EPS = {
    'eps': lambda schedule, x_t, t, eps: eps,
    'x0': eps_from_x0,
    'v': eps_from_v,
    'flow': eps_from_flow,
}


def as_eps(network, schedule, output):
  """`Prior.predict` of a network (params, x_t, t, cond) -> `output`, one of TO_EPS."""
  convert = TO_EPS[output]

  def predict(params, x_t, t, cond):
    eps = convert(schedule, x_t, t, network(params, x_t, t, cond))
    chex.assert_equal_shape([eps, x_t])
    return eps.astype(x_t.dtype)

  return predict


def guide(eps_null, eps_cond, scale):
  """Classifier-free guidance (Ho & Salimans 2022): scale 0 unconditional, 1 conditional."""
  return eps_null + scale * (eps_cond - eps_null)


def predict_rows(prior, params, x_t, t, *conditions):
  """The noise predictions, each [B, ...], at x_t under K conditions: one call on K B rows."""
  tile = lambda x: jnp.concatenate([x] * len(conditions))
  stacked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *conditions)
  return jnp.split(prior.predict(params, tile(x_t), tile(t), stacked), len(conditions))


def predict_guided(prior, params, x_t, t, cond, null, scale):
  """eps [B, ...] under guidance `scale`: one call of the denoiser on 2 B rows."""
  return guide(*predict_rows(prior, params, x_t, t, null, cond), scale)


def rescale(eps, cond, share):
  """eps [B, ...] rescaled to the standard deviation of the conditional prediction, per sample.

  `share` interpolates between eps (0) and the rescaled one (1); Lin et al. 2024, Eqs. 15 and 16.
  """
  spread = lambda x: x.std(tuple(range(1, x.ndim)), keepdims=True)
  return eps * (1 - share + share * spread(cond) / jnp.maximum(spread(eps), 1e-8))


def perpendicular(x, y):
  """The component of x [B, ...] orthogonal to y [B, ...], per sample."""
  axes = tuple(range(1, x.ndim))
  dot = lambda a, b: jnp.sum(a * b, axes, keepdims=True)
  return x - y * dot(x, y) / jnp.maximum(dot(y, y), 1e-6)


def guided_predictor(prior, params, cond, null, scale, share=0.0, negative=None):
  """predict(x_t [B, ...], t [B]) -> eps under the conditions `cond`, for samplers.

  `null` is the null condition of classifier-free guidance with `scale`; None: no guidance. `share`
  is that of `rescale`. The direction of the `negative` conditions is subtracted in its component
  orthogonal to the guidance (Perp-Neg, Armandpour et al. 2023). One call of the denoiser.
  """
  def predict(x_t, t):
    if null is None:
      return prior.predict(params, x_t, t, cond)
    others = () if negative is None else (negative,)
    plain, main, *away = predict_rows(prior, params, x_t, t, null, cond, *others)
    toward = main - plain
    for eps in away:
      toward = toward - perpendicular(eps - plain, main - plain)
    eps = plain + scale * toward
    return rescale(eps, main, share) if share else eps
  return predict

"""Samplers of a prior; each is one `lax.scan` and is jitted by the caller."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import rng
from jax3dgen.core.types import Array
from jax3dgen.prior import base


def times(schedule, steps):
  """Noise levels [steps + 1], evenly spaced from the highest to the lowest safe one."""
  low, high = schedule.safe_range
  return jnp.linspace(high, low, steps + 1, dtype=jnp.float32)


class Transition(NamedTuple):
  """N(mean, std^2 I) of x at the next level: mean [B, ...], std [B, 1, ...]; x0 [B, ...] is the
  clean estimate that the mean is made of."""
  mean: Array
  std: Array
  x0: Array


def transition(here, there, x, eps, eta, clip=None):
  """The Transition of a DDIM step (Song et al. 2021, Eq. 12); eta 0 deterministic, 1 ancestral.

  x and eps are [B, ...] at the level `here`; `here` and `there` are (alpha, sigma) of the two
  levels, shaped to multiply x. The schedule need not preserve variance. `clip` bounds the clean
  estimate to [-clip, clip] and makes eps consistent with it.
  """
  chex.assert_equal_shape([x, eps])
  (alpha, sigma), (alpha_next, sigma_next) = here, there
  x0 = (x - sigma * eps) / alpha
  if clip is not None:
    x0 = jnp.clip(x0, -clip, clip)
    eps = (x - alpha * x0) / sigma
  std = eta * _ancestral(here, there)
  deterministic = jnp.sqrt(jnp.maximum(sigma_next**2 - std**2, 0.0))
  return Transition(alpha_next * x0 + deterministic * eps, std, x0)


def _ancestral(here, there):
  """The standard deviation of an ancestral step: that of q(x_next | x, x_0) (Ho et al. 2020)."""
  (alpha, sigma), (alpha_next, sigma_next) = here, there
  ratio = (alpha * sigma_next) / (alpha_next * sigma)
  return sigma_next * jnp.sqrt(jnp.maximum(1.0 - ratio**2, 0.0))


def ddim_step(schedule, x, t, t_next, eps, noise, eta, clip=None):
  """x_t [B, ...] -> x_{t_next} by `transition` with the noise [B, ...]; t and t_next are [B]."""
  chex.assert_shape([t, t_next], x.shape[:1])
  step = transition(*(base.coefficients(schedule, level, x) for level in (t, t_next)), x, eps, eta,
                    clip)
  return step.mean + step.std * noise


def log_density(step, x_next, reduction='mean'):
  """log N(x_next; mean, std^2 I) [B] of a Transition with std > 0.

  The mean over the entries of x_next [B, ...] (D3PO's code), or their sum.
  """
  entries = (-0.5 * ((x_next - step.mean) / step.std) ** 2 - jnp.log(step.std)
             - 0.5 * np.log(2 * np.pi))
  return {'mean': jnp.mean, 'sum': jnp.sum}[reduction](entries, tuple(range(1, entries.ndim)))


def ddim(key, prior, params, cond, null, shape, steps, guidance, eta=0.0, clip=None, share=0.0,
         negative=None):
  """Samples x_0 of `shape` [B, h, w, c] under `cond` (a Cond of B rows) with DDIM.

  `null` is the Cond of no condition (B rows), or None to sample without guidance; `share` and
  `negative` are those of `base.guided_predictor`. The result is the clean estimate at the lowest
  safe noise level.
  """
  predict = base.guided_predictor(prior, params, cond, null, guidance, share, negative)
  return ddim_of(key, prior.schedule, lambda x, t, _: predict(x, t), shape, steps, eta, clip)


def ddim_of(key, schedule, predict, shape, steps, eta=0.0, clip=None):
  """`ddim` with the noise predictions of any function (x_t [B, ...], t [B], key) -> eps.

  The key is another one in each step.
  """
  k_start, k_noise = jax.random.split(key)
  k_predict = rng.stream(key, 'predict')
  grid = times(schedule, steps)

  def body(carry, i):
    x, _ = carry
    t, t_next = _levels(grid, i, shape)
    eps = predict(x, t, jax.random.fold_in(k_predict, i))
    noise = jax.random.normal(jax.random.fold_in(k_noise, i), shape)
    return (ddim_step(schedule, x, t, t_next, eps, noise, eta, clip),
            _clean(schedule, x, t, eps, clip)), None

  start = jax.random.normal(k_start, shape)
  (_, x0), _ = jax.lax.scan(body, (start, start), jnp.arange(steps + 1))
  return x0


def euler(key, prior, params, cond, null, shape, steps, guidance, **options):
  """Samples as `ddim` does, with Euler's steps of the ordinary differential equation.

  In x / alpha over sigma / alpha (Karras et al. 2022) the slope is eps, and Euler's step is DDIM's
  without noise; of a rectified flow it is the step along u = eps - x_0.
  """
  return ddim(key, prior, params, cond, null, shape, steps, guidance, eta=0.0, **options)


def dpm_solver(key, prior, params, cond, null, shape, steps, guidance, clip=None, share=0.0,
               negative=None):
  """Samples as `ddim` does, with DPM-Solver++ 2M (Lu et al. 2022, Alg. 2): second order in
  log(alpha / sigma), from the clean estimates of this step and of the one before."""
  schedule = prior.schedule
  grid = times(schedule, steps)
  predict = base.guided_predictor(prior, params, cond, null, guidance, share, negative)
  log_snr = jnp.log(schedule.alpha(grid)) - jnp.log(schedule.sigma(grid))

  def body(carry, i):
    x, before = carry
    t, t_next = _levels(grid, i, shape)
    x0 = _clean(schedule, x, t, predict(x, t), clip)
    step = log_snr[jnp.minimum(i + 1, steps)] - log_snr[i]
    last = jnp.where(i > 0, log_snr[i] - log_snr[i - 1], 1.0)
    slope = jnp.where(i > 0, 0.5 * step / last, 0.0).astype(x.dtype)
    _, sigma = base.coefficients(schedule, t, x)
    alpha_next, sigma_next = base.coefficients(schedule, t_next, x)
    x_next = sigma_next / sigma * x - alpha_next * jnp.expm1(-step).astype(x.dtype) * (
        x0 + slope * (x0 - before))
    return (x_next, x0), None

  start = jax.random.normal(jax.random.split(key)[0], shape)
  (_, x0), _ = jax.lax.scan(body, (start, start), jnp.arange(steps + 1))
  return x0


def pictures(sample, key, prior, params, cond, null, steps, guidance, **options):
  """Images [B, H, W, 3] in [0, 1] under `cond` (a Cond of B rows), by one of SAMPLERS.

  The other arguments are those of the sampler. H and W are the prior's own.
  """
  pixels = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  shape = (len(jax.tree.leaves(cond)[0]),
           *jax.eval_shape(prior.encode, params, pixels).shape[1:])
  x0 = sample(key, prior, params, cond, null, shape, steps, guidance, **options)
  return jnp.clip(prior.decode(params, x0), 0.0, 1.0)


def _levels(grid, i, shape):
  """Noise levels [B] of the steps i and i + 1; the last step ends at its own level.

  All predictions are then inside the scan, so that the denoiser is compiled once.
  """
  last = grid.shape[0] - 1
  return tuple(jnp.broadcast_to(grid[jnp.minimum(j, last)], shape[:1]) for j in (i, i + 1))


def _clean(schedule, x, t, eps, clip):
  """The clean estimate that eps implies, within [-clip, clip] where `clip` is given."""
  x0 = base.x0_from_eps(schedule, x, t, eps)
  return x0 if clip is None else jnp.clip(x0, -clip, clip)


def invert(key, schedule, predict, x0, t, steps, eta=0.0, renoise=0):
  """DDIM inversion: x_t [B, ...] at levels t [B] from which DDIM returns to x0 [B, ...].

  `steps` even steps from the lowest safe level upwards (x0 counts as the sample there), with
  predict(x [B, ...], t [B]) -> eps. `eta` > 0 adds to each step fresh noise of eta times the
  standard deviation of x_t given x_0 and x at its end (SDI's and JSD's code: 0.3), beside all of
  its deterministic noise, as there. With `renoise` > 0 each step is made consistent with the
  prediction at its end by as many fixed-point iterations (ReNoise, Garibi et al. 2024, without its
  averaging).
  """
  chex.assert_shape(t, x0.shape[:1])
  low = schedule.safe_range[0]

  def step(x, i):
    now, later = (low + (t - low) * share for share in (i / steps, (i + 1) / steps))
    noise = jax.random.normal(jax.random.fold_in(key, i.astype(jnp.int32)), x.shape)
    alpha, sigma = base.coefficients(schedule, now, x)
    alpha_next, sigma_next = base.coefficients(schedule, later, x)
    ratio = jnp.minimum((alpha_next * sigma) / (alpha * sigma_next), 1.0)
    fresh = eta * sigma * jnp.sqrt(1.0 - ratio**2)

    def move(eps):
      clean = base.x0_from_eps(schedule, x, now, eps)
      return alpha_next * clean + sigma_next * eps + fresh * noise

    x_next = move(predict(x, now))
    for _ in range(renoise):
      x_next = move(predict(x_next, later))
    return x_next, None

  return jax.lax.scan(step, x0, jnp.arange(steps, dtype=x0.dtype))[0]


SAMPLERS = {'ddim': ddim, 'euler': euler, 'dpm_solver': dpm_solver}

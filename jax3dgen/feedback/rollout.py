"""Stochastic DDIM rollouts whose steps have a density, for preference tuning (D3PO, Yang et al.
2024).

A rollout is a chain of states x_0, ..., x_K at decreasing noise levels; its actions are the next
states, drawn from N(mean, std^2 I) of `sampler.transition`, which needs eta > 0. Whatever belongs
to one sample shares its log-probability: the views of one object are one sample (`grouped`). The
noise of the reference is part of the condition; a stored key gives it again.

Axes: N samples, K steps, ... the entries of a sample. Levels t are in [0, 1], as for a Prior; a
network of 1,000 levels reads its index round(1000 t).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Array
from jax3dgen.prior import base, sampler

INDICES = 1000  # levels of a published network


class Keys(NamedTuple):
  """Random keys [N] of the first state, of the noise of the steps, and of the reference's noise."""
  start: Array
  sampler: Array
  reference: Array


class Rollout(NamedTuple):
  """x [K + 1, N, ...] float32, the states; log_prob [K, N] float32, of the actions under the policy
  that drew them; x0 [N, ...], the clean estimate at the lowest level."""
  x: Array
  log_prob: Array
  x0: Array


def indices(steps):
  """Levels [steps + 1] int32 of D3PO's code: 951, 901, ..., 1, 0 for 20 steps of 1,000 levels."""
  stride = INDICES // steps
  return np.append(1 + stride * np.arange(steps)[::-1], 0).astype(np.int32)


def previous(t, steps):
  """The index [...] that follows t [...]: t - 1000 // steps, within [0, 999]."""
  return jnp.clip(t - INDICES // steps, 0, INDICES - 1)


def log_prob(alphas_cumprod, x_t, x_next, eps, t, t_next, eta, clip=None, reduction='mean'):
  """log p(x_next | x_t) [B] of a DDIM step with the noise prediction eps [B, ...].

  alphas_cumprod [1000]; t and t_next [B] int. It is the mean over the entries, as in D3PO's code,
  or their sum. `clip` as in `sampler.transition`. ConfigError where eta is not positive.
  """
  check_eta(eta)
  alpha, sigma = (jnp.asarray(x, x_t.dtype) for x in (
      alphas_cumprod**0.5, (1.0 - alphas_cumprod) ** 0.5))  # of float64 arrays in float64
  here, there = (tuple(base.broadcast(x[level], x_t) for x in (alpha, sigma))
                 for level in (t, t_next))
  return sampler.log_density(sampler.transition(here, there, x_t, eps, eta, clip), x_next,
                             reduction)


def policy_log_prob(predict, schedule, x, x_next, t, t_next, cond, eta, clip=None,
                    reduction='mean'):
  """log p(x_next | x) [N] of stored states [N, ...] at levels t, t_next [N] under `predict` (x, t,
  cond) -> eps; the other arguments as in `log_prob`."""
  check_eta(eta)
  here, there = (base.coefficients(schedule, level, x) for level in (t, t_next))
  step = sampler.transition(here, there, x, predict(x, t, cond), eta, clip)
  return sampler.log_density(step, x_next, reduction)


def check_eta(eta):
  """ConfigError where the steps of DDIM have no density."""
  if not eta > 0:
    raise ConfigError(f'D3PO needs eta > 0, not {eta}: a DDIM step without noise has no density, '
                      'and so no log-probability.')


def sample(predict, schedule, levels, keys, cond, shape, eta, clip=None, renew=None):
  """The Rollout of N samples under `predict` (x [N, ...], t [N], cond) -> eps [N, ...].

  levels: [K + 1], decreasing, such as `sampler.times` or `indices(K) / 1000`; keys: Keys; shape:
  (N, ...); `clip` as in `sampler.transition`; renew: `renewed`'s. A sample depends on its own keys
  and condition alone. K + 1 predictions; x0 is that of `sampler.ddim`.
  """
  check_eta(eta)
  levels, steps = jnp.asarray(levels, jnp.float32), len(levels) - 1
  draw = jax.vmap(lambda key: jax.random.normal(key, shape[1:], jnp.float32))

  def body(carry, k):
    x, _ = carry
    t, t_next = (jnp.broadcast_to(levels[jnp.minimum(i, steps)], shape[:1]) for i in (k, k + 1))
    eps = predict(x, t, renewed(renew, cond, keys.reference, k))
    here, there = (base.coefficients(schedule, level, x) for level in (t, t_next))
    step = sampler.transition(here, there, x, eps, eta, clip)
    x_next = step.mean + step.std * draw(step_keys(keys.sampler, k))
    # The last prediction is for x0 alone: its step has no noise, and its density is cut off below.
    step = step._replace(std=jnp.where(k < steps, step.std, 1.0))
    return (x_next, step.x0), (x, sampler.log_density(step, x_next))
  start = draw(keys.start)
  (_, x0), (x, log_probs) = jax.lax.scan(body, (start, start), jnp.arange(steps + 1))
  return Rollout(x, log_probs[:steps], x0)


def step_keys(keys, k):
  """The keys [N] of step k, [] or [N] int, from the stored ones [N]."""
  return jax.vmap(jax.random.fold_in)(keys, jnp.broadcast_to(k, keys.shape))


def renewed(renew, cond, keys, k):
  """The condition at step k, [] or [N] int: `renew` (cond, keys [N]) -> cond draws the reference's
  noise of a step by the keys [N] stored for the rollouts. None: cond is the same at all steps."""
  return cond if renew is None else renew(cond, step_keys(keys, k))


def grouped(predict, views):
  """`predict` for samples x [N, views, ...], t [N], of one whose rows are single views [N views,
  ...]; the leaves of the condition have the leading axes N and views, too."""
  rows = lambda x: x.reshape(-1, *x.shape[2:])

  def apply(x, t, cond):
    eps = predict(rows(x), jnp.repeat(t, views), jax.tree.map(rows, cond))
    return eps.reshape(x.shape)
  return apply


def clean_weights(schedule, levels, eta):
  """What the mean square error of the clean estimate weighs in log p at each step, [K].

  c^2 / (2 std^2) with c the coefficient of x_0 in the mean: on the embedded prior's 20 steps from
  .0037 at the first to 8,000 at the last. Log-ratios over these weights are of one scale (ours).
  """
  levels = jnp.asarray(levels, jnp.float32)
  at = lambda t: (schedule.alpha(t), schedule.sigma(t))
  here, there = at(levels[:-1]), at(levels[1:])
  zero = jnp.zeros_like(levels[:-1])
  # eps of the clean estimate x_0 = 1 at x = 0 is -alpha / sigma.
  step = sampler.transition(here, there, zero, -here[0] / here[1], eta)
  return step.mean**2 / (2.0 * step.std**2)

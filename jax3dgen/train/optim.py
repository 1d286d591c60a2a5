"""Optimisers: Adam with learning rates by parameter path, and schedules by step."""

import re

import jax
import jax.numpy as jnp
import optax

from jax3dgen.core import tree
from jax3dgen.core.errors import ConfigError


def scalar(value, step):
  """The value [] at `step` of a schedule: a number, or (start, from, to, end), linear between.

  Before `start` it is `from`, after `end` it is `to` (threestudio's C(step), with integer steps).
  """
  if not isinstance(value, (tuple, list)):
    return jnp.float32(value)
  if len(value) != 4:
    raise ConfigError(f'A schedule is a number or (start, from, to, end); got {tuple(value)}.')
  start, low, high, end = value
  share = (step - start) / max(end - start, 1)
  return low + (high - low) * jnp.clip(share, 0.0, 1.0).astype(jnp.float32)


def in_steps(value, steps):
  """A number or a schedule whose start and end are steps of a run of `steps`: of these two, a float
  is a share of the run. ValueError for a float that is none."""
  if not isinstance(value, (tuple, list)) or len(value) != 4:
    return value
  return (step_of(value[0], steps), *value[1:3], step_of(value[3], steps))


def step_of(value, steps):
  """A step of a run of `steps`: a whole number as it is, a float as a share of the run. ValueError
  for a float below 0 or above 1."""
  if not isinstance(value, float):
    return value
  if not 0 <= value <= 1:
    raise ValueError(f'{value} is neither a whole number of steps nor a share of the run')
  return round(value * steps)


def stages_in_steps(value, steps):
  """A number, or stages ((first step, ...), ...) with the first steps by `step_of`."""
  if not isinstance(value, (tuple, list)):
    return value
  return tuple((step_of(stage[0], steps), *stage[1:])
               if isinstance(stage, (tuple, list)) and stage else stage for stage in value)


def bends(value, steps):
  """The steps of a run of `steps` between which a schedule is linear."""
  points = [0, steps - 1]
  if isinstance(value, (tuple, list)):
    points += [n for n in (value[0], value[0] + 1, value[3], value[3] + 1) if 0 <= n < steps]
  return sorted(set(points))


def on_host(value, step):
  """`scalar` as a float, computed on the host."""
  if not isinstance(value, (tuple, list)):
    return float(value)
  start, low, high, end = value
  return low + (high - low) * min(max((step - start) / max(end - start, 1), 0.0), 1.0)


RULES = ('uniform', 'sqrt', 'back_and_forth')


def noise_range(rule, low, high, step, steps, phases):
  """(lowest, highest) noise level of a step of `steps`, within [low, high].

  'uniform' is the whole range; 'sqrt' falls as a square root from high to low, the same level for
  all views (HiFA); 'back_and_forth' (RecDreamer's BNF) widens in `phases` equal phases from the
  upper end down to the whole range, and narrows again towards the lower end.
  """
  done = jnp.minimum(step / steps, 1.0)
  if rule == 'sqrt':
    level = high - (high - low) * jnp.sqrt(done)
    return level, level
  if rule == 'back_and_forth':
    phase = jnp.minimum(jnp.floor(2 * phases * done), 2 * phases - 1)
    lowest = jnp.maximum((phases - 1 - phase) / phases, 0.0)
    highest = jnp.minimum((2 * phases - phase) / phases, 1.0)
    return jnp.clip(lowest, low, high), jnp.clip(highest, low, high)
  return low, high


def decayed(rate, b1, b2, eps, decay):
  """Adam, or AdamW where `decay` is not 0."""
  return optax.adamw(rate, b1, b2, eps, weight_decay=decay) if decay else (
      optax.adam(rate, b1, b2, eps))


def adam(rates, params, b1=0.9, b2=0.99, eps=1e-15, clip=0.0, accumulate=1, decay=0.0):
  """Adam whose learning rate depends on the path of a parameter.

  `rates` is a list of (regular expression, learning rate); the first that matches the '/'-joined
  path applies, ConfigError where none does. A `clip` > 0 bounds the global gradient norm. With
  `accumulate` > 1 the mean gradient of that many steps makes one update. `decay` is AdamW's.
  """
  def label(path, _):
    name = tree.name(path)
    for i, (pattern, _) in enumerate(rates):
      if re.search(pattern, name):
        return str(i)
    raise ConfigError(f'No learning rate in config.optim.rates fits the parameter {name!r}.')
  groups = {str(i): decayed(rate, b1, b2, eps, decay) for i, (_, rate) in enumerate(rates)}
  tx = optax.multi_transform(groups, jax.tree_util.tree_map_with_path(label, params))
  if clip > 0:
    tx = optax.chain(optax.clip_by_global_norm(clip), tx)
  return optax.MultiSteps(tx, accumulate).gradient_transformation() if accumulate > 1 else tx


def fit_adam(cfg):
  """The optimiser of an objective's own network by the section config.optim: AdamW's decay is
  `fit_decay`, and the rate grows linearly to `fit_rate` in `fit_warmup` steps."""
  rate = cfg.fit_rate
  if cfg.fit_warmup:
    rate = optax.linear_schedule(0.0, rate, cfg.fit_warmup)
  return decayed(rate, 0.9, 0.999, 1e-8, cfg.fit_decay)


def update(tx, grads, opt_state, params):
  """(params, opt_state, finite []): one update, or none where a gradient is not finite."""
  finite = jnp.isfinite(optax.tree.norm(grads))
  step, new_opt = tx.update(grads, opt_state, params)
  keep = lambda new, old: jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)
  return keep(optax.apply_updates(params, step), params), keep(new_opt, opt_state), finite

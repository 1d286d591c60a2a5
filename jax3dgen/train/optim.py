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


def adam(rates, params, b1=0.9, b2=0.99, eps=1e-15, clip=0.0, accumulate=1):
  """Adam whose learning rate depends on the path of a parameter.

  `rates` is a list of (regular expression, learning rate); the first that matches the '/'-joined
  path applies, ConfigError where none does. A `clip` > 0 bounds the global gradient norm. With
  `accumulate` > 1 the mean gradient of that many steps makes one update.
  """
  def label(path, _):
    name = tree.name(path)
    for i, (pattern, _) in enumerate(rates):
      if re.search(pattern, name):
        return str(i)
    raise ConfigError(f'No learning rate in config.optim.rates fits the parameter {name!r}.')
  groups = {str(i): optax.adam(rate, b1, b2, eps) for i, (_, rate) in enumerate(rates)}
  tx = optax.multi_transform(groups, jax.tree_util.tree_map_with_path(label, params))
  if clip > 0:
    tx = optax.chain(optax.clip_by_global_norm(clip), tx)
  return optax.MultiSteps(tx, accumulate).gradient_transformation() if accumulate > 1 else tx


def update(tx, grads, opt_state, params):
  """(params, opt_state, finite []): one update, or none where a gradient is not finite."""
  finite = jnp.isfinite(optax.tree.norm(grads))
  step, new_opt = tx.update(grads, opt_state, params)
  keep = lambda new, old: jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)
  return keep(optax.apply_updates(params, step), params), keep(new_opt, opt_state), finite

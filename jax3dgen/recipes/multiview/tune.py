"""Tuning of a multi-view prior's denoiser on stored rollouts, or on true views alone.

Axes: G references, R rollouts of each, B pairs or references per step, W stored steps, V views.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import parallel, rng, tree
from jax3dgen.data import multiview as world
from jax3dgen.feedback import d3po, multiview, rollout, rollout_pairs
from jax3dgen.recipes.multiview import problem as problems
from jax3dgen.recipes.multiview import rollouts
from jax3dgen.recipes.nets import ship
from jax3dgen.recipes.preference import adapters as adapter_files
from jax3dgen.recipes.preference import blocks, tuning


def preferences(score, cfg, scale):
  """{'rows': [P, 2] int32 of G R rollouts, the preferred first}, or {'rows': [G, R], 'advantage':
  [G, R]} for config.loss.name 'advantage', from scores [G, R]; scale [R] of the references' noise.

  ConfigError where all are ties.
  """
  if cfg.loss.name == 'advantage':
    rows = np.arange(score.size, dtype=np.int32).reshape(score.shape)
    return {'rows': rows, 'advantage': rollout_pairs.advantages(score)}
  of = {'all': rollout_pairs.all_pairs, 'equal_scale': rollout_pairs.all_pairs,
        'extreme': rollout_pairs.extreme_pairs}[cfg.score.pairs]
  pairs = of(score, cfg.score.gap)
  if cfg.score.pairs == 'equal_scale':
    pairs = rollout_pairs.at_equal_scale(pairs, np.tile(scale, len(score)))
  rows = np.stack([pairs.first, pairs.second], 1)
  rows = np.where(pairs.preferred[:, None] > 0, rows, rows[:, ::-1])[pairs.preferred != 0]
  return {'rows': rows, 'advantage': np.tile(np.float32([1, -1]), (len(rows), 1))}


def objective(views, cfg, count):
  """loss(adapters, key, params, pool, table, clean) -> (value [], metrics) of one of `count`
  devices.

  pool: arrays [G R, ...] of `rollouts.program`, or {} for config.loss.name 'sft'; table: of
  `preferences`, or {}; clean {'x0': [I, V, h, w, c], 'picture': [I, h, w, c]}: samples of
  L_simple-MV, which for 'mean' are the means of the rollouts. An objective with preferences draws
  pairs, or references, and a step of the window for each.
  """
  c, steps = cfg.loss, cfg.loss.last + 1 - cfg.loss.first
  grid = rollouts.levels(views, cfg.sampler.steps)
  beta = (d3po.even_betas(c.beta, views.schedule, grid, cfg.sampler.eta) if c.weights == 'even'
          else jnp.full(len(grid) - 1, c.beta, jnp.float32))

  def stored(key, params, pool, table):
    rollouts_each = table['rows'].shape[1]
    size = max(2 * cfg.train.batch // count // rollouts_each, 1)
    chosen = jax.random.randint(rng.stream(key, 'pairs'), (size,), 0, len(table['rows']))
    k = jax.random.randint(rng.stream(key, 'step'), (size,), 0, steps)
    rows = table['rows'][chosen]
    flat, each = rows.ravel(), jnp.repeat(k, rollouts_each)
    keys = jax.random.wrap_key_data(pool['reference_key'][flat])
    cond = rollouts.condition(views, params, pool['picture'][flat],
                              jnp.zeros_like(pool['picture'][flat]))
    cond = rollout.renewed(rollouts.renew, cond, keys, c.first + each)
    return d3po.minibatch(pool['x'], pool['log_prob'], grid[c.first:], rows, k, cond,
                          table['advantage'][chosen]), beta[c.first + k]

  def loss(adapters, key, params, pool, table, clean):
    merged = problems.merged(params, adapters, cfg.lora.scale)
    predict = rollouts.predictor(views, merged, cfg.sampler.guidance)
    with_pairs = c.name in ('d3po', 'advantage')
    value, metrics = jnp.zeros(()), {}
    if with_pairs:
      batch, strength = stored(key, params, pool, table)
      value, metrics = d3po.objective(predict, views.schedule, batch, strength, cfg.sampler.eta,
                                      c.clip or None, views.clip, c.reduction)
    if c.simple or not with_pairs:
      chosen = jax.random.randint(rng.stream(key, 'objects'), (max(c.fresh // count, 1),), 0,
                                  len(clean['x0']))
      metrics['simple'] = multiview.of_clean(views, merged, rng.stream(key, 'simple'),
                                             clean['x0'][chosen], clean['picture'][chosen], 0.0)
      value = value + (c.simple if with_pairs else 1.0) * metrics['simple']
    return value, metrics
  return loss


def clean_arrays(views, params, pool, images, cfg):
  """The `clean` of `objective`: the true views of `images`, or for 'mean' the means of rollouts; {}
  where true views are not known."""
  if cfg.loss.name == 'mean':
    return {'x0': np.asarray(d3po.mean_target(pool['x0'])), 'picture': pool['picture'][:, 0]}
  if images.images is None:
    return {}
  encode = parallel.split(lambda batch, params: views.encode(params, batch), 1)
  flat, placed = images.images.reshape(-1, *images.images.shape[2:]), parallel.broadcast(params)
  x0 = ship.in_chunks(lambda rows: encode(rows, placed), flat, cfg.batch)
  x0 = x0.reshape(*images.images.shape[:2], *x0.shape[1:])
  return {'x0': x0, 'picture': world.at_slot(x0, images.slot)}


def run(problem, model, pool, table, clean, cfg, folder, title):
  """{step: adapters} of `tuning.run` on the denoiser of a Model; host arrays as in `objective`, but
  pool [G, R, ...]."""
  count = parallel.share_batch(cfg.train.batch)
  flat = {name: x.reshape(-1, *x.shape[2:]) for name, x in pool.items() if name != 'x0'}
  first = adapter_files.start(model.params['denoiser'], cfg.lora, cfg.seed)
  settings = {name: cfg[name].to_dict() for name in ('loss', 'lora', 'optim', 'sampler')}
  settings['optim']['warmup'] = tuning.warmup_steps(cfg)
  key = blocks.digest(model.key, *(tree.digest(x) for x in (flat, table, clean)), settings,
                      cfg.train.batch, cfg.seed, count)
  return tuning.run(folder, key, objective(problem.views, cfg, count), first,
                    (model.params, flat, table, clean), cfg, title)

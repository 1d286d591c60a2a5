"""Tuning of a generator's flow on pairs of its own samples: the pairs and the objective."""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import parallel, rng, tree
from jax3dgen.feedback import dpo, dro, flow_loss, regularizers
from jax3dgen.feedback import pairs as preference_pairs
from jax3dgen.nn import lora
from jax3dgen.recipes.preference import adapters as adapter_files
from jax3dgen.recipes.preference import blocks, tuning


def table_of(labels, image, images, cfg):
  """(pairs.Table, {group: why it is left out}) of a pool by the section config.pairs.

  labels: of `pool.label`; image: the number [N] of the image of each sample; images: a
  problem.Images.
  """
  group = images.object[image] if cfg.of == 'object' else None
  if cfg.by == 'margin':
    return preference_pairs.by_margin(labels['margin_deg'], image, cfg.gap_deg, group,
                                      labels['finite'])
  return preference_pairs.by_label(labels['stable_cut'], image, group, labels['finite'])


def objective(velocity, cfg, count):
  """loss(adapters, key, params, pool, pairs) -> (value [], metrics) of one of `count` devices.

  pool: {'latent': [N, ...], 'cond': of each image, 'noise': [N, ...] where it is tracked}; pairs: a
  pairs.Table. The reference is the flow of `params` without adapters, evaluated where a loss or a
  term needs it.
  """
  c, batch = cfg.loss, cfg.train.batch // count
  with_reference = c.name == 'dpo' or c.anchor > 0 or c.growth > 0

  def loss(adapters, key, params, pool, table):
    win, lose, image = preference_pairs.draw(rng.stream(key, 'pairs'), table, batch)
    cond = jax.tree.map(lambda x: x[image], pool['cond'])
    t = flow_loss.levels(rng.stream(key, 'level'), batch)
    rows = (win,) if c.name == 'sft' else (win, lose)
    x0 = tuple(pool['latent'][index] for index in rows)
    if c.noise == 'tracked':
      eps = tuple(pool['noise'][index] for index in rows)
    else:
      eps = tuple(jax.random.normal(rng.stream(key, f'noise of {name}'), x.shape)
                  for name, x in zip(('winners', 'losers'), x0))

    def predict(params):
      if c.name == 'sft':
        return flow_loss.predict(velocity, params, *x0, cond, t, *eps)
      return flow_loss.predict_pairs(velocity, params, *x0, cond, t, *eps)
    v, target = predict(params | {'flow': lora.merge(params['flow'], adapters, cfg.lora.scale)})
    errors = jnp.split(flow_loss.mean_square(v - target), len(rows))
    value, metrics = errors[0].mean(), {'win': errors[0].mean(), 'lose': errors[-1].mean()}
    if c.name == 'dro':
      value = dro.of_errors(*errors, c.negative)
    if with_reference:
      v_ref = jax.lax.stop_gradient(predict(params)[0])
      expected = jnp.split(flow_loss.mean_square(v_ref - target), len(rows))
      if c.name == 'dpo':
        d = dpo.difference(*errors, *expected)
        value = dpo.of_difference(d, dpo.scaled(c.beta, c.reduction, x0[0][0].size))
        metrics['difference'] = d.mean()
      value = (value + c.anchor * regularizers.anchor(v, v_ref)
               + c.growth * regularizers.growth(v, v_ref))
    return value, metrics
  return loss


def run(problem, model, pool, table, cfg, folder, title):
  """`tuning.run` of the flow of a Model; pool and table as in `objective`, host arrays."""
  count = parallel.share_batch(cfg.train.batch)
  return tuning.run(folder, _key(model, pool, table, cfg, count),
                    objective(problem.generator.velocity, cfg, count),
                    adapter_files.start(model.params['flow'], cfg.lora, cfg.seed),
                    (model.params, pool, table), cfg, title)


def _key(model, pool, table, cfg, count):
  """The digest of what a tuning run depends on, apart from its number of steps."""
  settings = {name: cfg[name].to_dict() for name in ('loss', 'lora', 'optim')}
  settings['optim']['warmup'] = tuning.warmup_steps(cfg)
  return blocks.digest(model.key, tree.digest(pool), tree.digest(table._asdict()), settings,
                       cfg.train.batch, cfg.seed, count)


def pool_arrays(latent, cond, noise=None):
  """The pool of `objective` as float32 host arrays."""
  pool = {'latent': latent, 'cond': cond} | ({} if noise is None else {'noise': noise})
  return jax.tree.map(lambda x: np.asarray(x, np.float32), pool)

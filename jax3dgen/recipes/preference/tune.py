"""Tuning of a generator's flow on pairs of its own samples: adapters, an optimiser step, a run."""

import contextlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax3dgen.core import files, parallel, rng, tree
from jax3dgen.feedback import dpo, dro, flow_loss, regularizers
from jax3dgen.feedback import pairs as preference_pairs
from jax3dgen.nn import lora
from jax3dgen.recipes.preference import adapters as adapter_files
from jax3dgen.recipes.preference import blocks
from jax3dgen.train import checkpoint, descent, loop, optim
from jax3dgen.train import workdir as workdirs


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


def optimiser(cfg):
  """AdamW with its rate rising to config.optim.rate and then constant, the gradient clipped (DSO:
  rate(step) = rate min(1, step / warm-up))."""
  rate = optax.linear_schedule(0.0, cfg.optim.rate, warmup_steps(cfg)) if (
      warmup_steps(cfg)) else cfg.optim.rate
  return optax.chain(optax.clip_by_global_norm(cfg.optim.clip),
                     optim.decayed(rate, 0.9, 0.999, 1e-8, cfg.optim.decay))


def warmup_steps(cfg):
  """config.optim.warmup in steps."""
  warmup = cfg.optim.warmup
  return round(warmup * cfg.train.steps if warmup < 1 else warmup)


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
  """Tunes the flow of a Model into `folder` and returns {step: adapters} of the steps it keeps.

  pool and table as in `objective`, host arrays. The folder receives metrics.csv, checkpoints and
  steps/STEP.safetensors every config.checkpoint.every steps and after the last; one that belongs to
  another model, other arrays or other settings is emptied.
  """
  count, tx = parallel.share_batch(cfg.train.batch), optimiser(cfg)
  first = adapter_files.start(model.params, cfg.lora, cfg.seed)
  parallel.from_main(_prepare, folder, _key(model, pool, table, cfg, count))
  step = descent.build_step(objective(problem.generator.velocity, cfg, count), tx, cfg.seed, 0.0,
                            parallel.AXIS, grad_norm=True)
  state = descent.start(first, tx)
  path = lambda step: folder / 'steps' / f'{step:06d}.safetensors'

  def keep(step, replicated):
    with workdirs.writing(path(step)):
      adapter_files.save(path(step), parallel.unreplicate(replicated.params), cfg.lora.scale)
  with contextlib.closing(checkpoint.Checkpoints(
      folder / 'checkpoints', cfg.checkpoint.keep)) as checkpoints:
    start, state = checkpoints.restore(state) or (0, state)
    if start < cfg.train.steps:
      fixed = parallel.broadcast((model.params, pool, table))
      programs = [parallel.map(step, 3)] * (cfg.train.steps - start)
      loop.optimise(cfg, folder, programs, start, state, checkpoints, title, fixed,
                    lambda writer: [(cfg.checkpoint.every, keep)])
  steps = [*range(cfg.checkpoint.every, cfg.train.steps, cfg.checkpoint.every), cfg.train.steps]
  read = lambda step: adapter_files.load(path(step), first) if parallel.is_main() else None
  return {step: parallel.tree_from_main(read(step), first) for step in steps}


def _key(model, pool, table, cfg, count):
  """The digest of what a tuning run depends on, apart from its number of steps."""
  settings = {name: cfg[name].to_dict() for name in ('loss', 'lora', 'optim')}
  settings['optim']['warmup'] = warmup_steps(cfg)
  return blocks.digest(model.key, tree.digest(pool), tree.digest(table._asdict()), settings,
                       cfg.train.batch, cfg.seed, count)


def _prepare(folder, key):
  """Empties a tuning folder that belongs to another pool, other pairs or other settings."""
  file = folder / 'key'
  with workdirs.writing(folder):
    if not file.exists() or file.read_text() != key:
      shutil.rmtree(folder, ignore_errors=True)
      with files.replacing(file) as beside:
        beside.write_text(key)


def pool_arrays(latent, cond, noise=None):
  """The pool of `objective` as float32 host arrays."""
  pool = {'latent': latent, 'cond': cond} | ({} if noise is None else {'noise': noise})
  return jax.tree.map(lambda x: np.asarray(x, np.float32), pool)

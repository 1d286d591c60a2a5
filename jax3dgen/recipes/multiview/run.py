"""Preference tuning of a multi-view prior (MV-D3PO): base > rollout > metric > score > tune >
evaluate.

`run(config, workdir)` is what `python -m experiments.multiview` calls. Each phase has its own
folder and keeps what is done, so that the same call resumes it; a phase whose input changed is done
again.
"""

import json
import pathlib
from typing import NamedTuple

from ml_collections import FrozenConfigDict
import numpy as np

from jax3dgen.core import files, parallel, tree
from jax3dgen.core.errors import ConfigError
from jax3dgen.feedback import rollout_pairs
from jax3dgen.prior import multiview_latent, multiview_loading
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.multiview import config as settings
from jax3dgen.recipes.multiview import evaluate, page, rollouts, score, tune
from jax3dgen.recipes.multiview import problem as problems
from jax3dgen.recipes.nets import consistency as metric_net
from jax3dgen.recipes.nets import ship
from jax3dgen.recipes.preference import adapters as adapter_files
from jax3dgen.recipes.preference import blocks
from jax3dgen.train import workdir as workdirs

ADAPTERS = 'adapters.safetensors'
SCORED = ('d3po', 'advantage')  # losses that need preferences

default_config = settings.default_config


class Tuning(NamedTuple):
  """The outcome of a tuning: the Model after it, and its record for result.json."""
  model: problems.Model
  record: dict


def run(config, workdir, problem=None, allow_change=False, command=''):
  """Tunes a multi-view prior into `workdir`; returns the figures of result.json.

  `problem` is a `problem.Problem`, by default that of the config. ConfigError where the config is
  invalid, or where all preferences are ties.
  """
  parallel.initialize()
  settings.check(config)
  parallel.share_batch(config.train.batch)
  workdir, cfg = pathlib.Path(workdir), FrozenConfigDict(config)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    done = problem is None and parallel.from_main(distill.complete_figures, workdir, config)
    if done:
      print(f'{workdir} is finished.')
      return done
    prior = base_prior(config, workdir)
    problem = problem or problems.build(cfg, prior)
    base = problems.base(problem)
    metric = metric_weights(config, workdir, prior)
    matches = (('loftr', cfg.score.loftr) if cfg.score.loftr else
               ('matches', cfg.score.features))
    judges = {'metric': score.judge('metric', metric), 'matches': score.judge(*matches)}
    tuning = tune_model(problem, base, cfg, workdir, judges)
    models = {'base': base, 'tuned': tuning.model}
    rows = {name: evaluate.run(problem, model, cfg, judges, workdir / 'test' / name)
            for name, model in models.items()}
    figures = {'rows': {name: evaluate.summary(table) for name, table in rows.items()},
               'change': evaluate.changes(rows['tuned'], rows['base']), 'tuning': tuning.record,
               'config_digest': outputs.config_digest(config)}
    return parallel.from_main(write, workdir, figures, rows, problem, models, cfg, command)


def base_prior(config, workdir):
  """The section config.prior of the base, with the folder of the training in this run, if any.

  A base in the layout of diffusers is trained by a config.base with the section `prior`, such as
  that of `recipes/nets/multiview_latent`, which then is config.prior.
  """
  if not config.base.train.steps:
    return config.prior
  base = config.base.copy_and_resolve_references()
  published = multiview_latent.is_published(config.prior.weights)
  if published != (base.name == 'multiview_latent'):
    raise ConfigError(f'config.base.name={base.name!r} does not train the weights '
                      f'{config.prior.weights!r} in config.prior.weights.')
  if published:
    base.prior.update(config.prior)
  folder = ship.run(ship.find(base.name), base, workdir / 'base')
  return multiview_loading.with_trained(config.prior, folder)


def metric_weights(config, workdir, prior):
  """The folder of the metric's weights: of the training in this run, with negatives of the section
  `prior` where config.metric.prior.weights names no others, or config.metric.weights."""
  if not config.metric.train.steps:
    return config.metric.weights
  c = config.metric.copy_and_resolve_references()
  if not c.prior.weights:
    c.prior.update(prior)
  return ship.run(metric_net.NET, c, workdir / 'metric')


def tune_model(problem, base, cfg, workdir, judges, shared=None):
  """The Tuning of the Model `base`, with preferences by one of `judges` or the true PSNR.

  Several tunings may share the folder `shared` of rollouts and their scores; None: `workdir`.
  """
  shared, pool, table, record = shared or workdir, {}, {}, {}
  if cfg.loss.name != 'sft':
    pool = rollouts.run(problem, base, problem.pool, cfg.sampler, cfg.rollout, cfg.rollout.seed,
                        (cfg.loss.first, cfg.loss.last), cfg.batch, shared / 'rollout', 'rollout')
    record['digests'] = {'rollouts': blocks.digest(pool)}
  if cfg.loss.name in SCORED:
    judge = judges.get(cfg.score.by)
    values = score.run(problem, pool, cfg, judge, shared / 'score' / cfg.score.by)
    table = tune.preferences(values, cfg, rollouts.scales(cfg.rollout))
    true = None if problem.pool.images is None else score.run(
        problem, pool, cfg, None, shared / 'score' / 'psnr')
    record |= {'pairs': len(table['rows']),
               'agreement': None if true is None else score.agreement(values, true),
               'noise': rollout_pairs.noise_control(
                   rollout_pairs.all_pairs(values, cfg.score.gap),
                   np.tile(rollouts.scales(cfg.rollout), len(values)))}
    record['digests']['preferences'] = blocks.digest(table)
  clean = tune.clean_arrays(problem.views, base.params, pool, problem.pool, cfg)
  adapters = tune.run(problem, base, pool, table, clean, cfg, workdir / 'tune', 'tune')
  step = max(adapters)
  parallel.from_main(adapter_files.save, workdir / ADAPTERS, adapters[step],
                     cfg.lora.scale)
  record['digests'] = record.get('digests', {}) | {'adapters': tree.digest(adapters[step])}
  return Tuning(problems.tuned(base, adapters[step], cfg.lora.scale), record | {'step': step})


def write(workdir, figures, rows, problem, models, cfg, command):
  """Writes multiview.md, samples.png and result.json; returns the figures."""
  with workdirs.writing(workdir):
    evaluate.picture(workdir / 'samples.png', problem, [
        evaluate.views_of(problem, model, cfg, workdir / 'test' / name)
        for name, model in models.items()])
    for name, text in (('multiview.md', page.text(figures, cfg, command)),
                       ('result.json', json.dumps(figures, indent=1) + '\n')):
      with files.replacing(workdir / name) as beside:
        beside.write_text(text, encoding='utf-8')
  return figures

"""The study of MV-D3PO: tunings by several preferences and seeds, judged on held-out objects.

`run(config, workdir)` is what `python -m experiments.multiview_study` calls. All runs share the
base, the objects and, per seed, the noise of the samples; those with equal settings of the rollouts
share these too. Rows go to a table (`recipes/preference/study_rows`).
"""

import functools
import pathlib

from ml_collections import ConfigDict, FrozenConfigDict
import numpy as np

from jax3dgen.core import parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.metrics import multiview as metrics
from jax3dgen.recipes.multiview import evaluate, score
from jax3dgen.recipes.multiview import problem as problems
from jax3dgen.recipes.multiview import run as loop
from jax3dgen.recipes.preference import adapters, blocks, study_rows
from jax3dgen.train import workdir as workdirs

BASE = study_rows.BASE
TUNED = 'tuned'  # the model of a run's rows
SHARES = ('hands', 'agree')  # figures of `metrics.SHARES` with intervals
# Figures without: shares of three sides or four that nearly all models have right.
PLAIN = ('sector', 'kind', 'color', *metrics.SHARES)


def default_config():
  """A locked ConfigDict: no runs; an unknown field raises."""
  c = ConfigDict()
  c.runs = ()  # ((name, ((field, value), ...)), ...): tuning runs, and what each changes
  c.judges = ()  # names of runs whose own metrics judge all views too
  c.pictures = ()  # names of the runs whose views of a few objects are shown together
  c.first_seed = 0  # the seeds are this one and those that follow
  c.seeds = 3  # of rollouts, tuning and samples
  c.table = ''  # JSON lines of finished rows, which are not computed again; '': none
  c.loop = loop.default_config()  # what all runs share
  return c.lock()


def check(config):
  """ConfigError for the first invalid field."""
  unknown = [name for name in (*config.judges, *config.pictures) if name not in dict(config.runs)]
  if unknown:
    raise ConfigError(f'config.judges and config.pictures name runs; {unknown[0]!r} is none.')
  if config.loop.base.train.steps:
    raise ConfigError('config.loop.base.train.steps is 0 in a study: its base is '
                      'config.loop.prior.')
  study_rows.check(config, config.runs, lambda changes: changed(config, changes, 0),
                   loop.settings.check)


def changed(config, changes, seed):
  """The ConfigDict of a run: config.loop with `changes` and the seed's own noise."""
  c = config.loop.copy_and_resolve_references()
  c.update_from_flattened_dict(dict(changes))
  c.seed, c.rollout.seed, c.evaluation.seed = seed, seed, 1000 + seed
  return c


def run(config, workdir, problem=None):
  """[row] of the study, by `study_rows.run`; `problem` as in `recipes/multiview/run`.

  ConfigError where the config is invalid or a row of the table was made with other settings.
  """
  parallel.initialize()
  check(config)
  workdir = pathlib.Path(workdir)

  @functools.cache
  def build(pool):
    if problem is not None:
      return problem
    c = config.loop.copy_and_resolve_references()
    c.objects.pool = pool
    return problems.build(FrozenConfigDict(c))

  @functools.cache
  def judges():
    runs = {'metric': (), **{name: dict(config.runs)[name] for name in config.judges}}
    return {name: metric(changed(config, changes, 0), workdir)
            for name, changes in runs.items()} | {'matches': score.judge(
                'matches', config.loop.score.features)}
  return study_rows.run(config, workdir, tasks(config), lambda task: compute(
      config, task, build(task.settings.objects.pool), judges(), workdir))


def tasks(config):
  """The Tasks of the study, seed by seed."""
  return [study_rows.Task(name, seed, changed(config, changes, seed), (TUNED if tuned else BASE,),
                          tuned)
          for seed in study_rows.seeds(config)
          for name, changes, tuned in ((BASE, (), False), *((*run, True) for run in config.runs))]


def compute(config, task, problem, judges, workdir):
  """Yields the row of a Task."""
  cfg, folder = FrozenConfigDict(task.settings), run_folder(workdir, task.name, task.seed)
  model, record = problems.base(problem), {}
  if task.tuned:
    preference = judges
    if cfg.loss.name in loop.SCORED and cfg.score.by == 'metric':
      preference = judges | {'metric': metric(task.settings, workdir)}
    tuning = loop.tune_model(problem, model, cfg, folder, preference, rollout_folder(workdir, cfg))
    model, record = tuning.model, {'tuning': tuning.record}
  rows = evaluate.run(problem, model, cfg, judges, folder / 'test')
  if task.name in config.pictures:
    parallel.from_main(picture, config, problem, workdir, task.seed)
  yield task.head | {'model': task.models[0]} | evaluate.summary(rows) | record | {
      'singles': singles(rows)}


def metric(settings, workdir):
  """The judge of a run's metric, which runs of equal settings share, where it is trained, too."""
  folder = workdir / 'shared' / f'metric-{blocks.digest(settings.metric.to_dict())[:12]}'
  return score.judge('metric', loop.metric_weights(settings, folder, settings.prior))


def run_folder(workdir, name, seed):
  """The folder of a run of one seed."""
  return workdir / 'runs' / f'{name}-{seed}'


def rollout_folder(workdir, cfg):
  """The folder of rollouts and their scores, which runs with equal settings of them share."""
  key = blocks.digest(*(cfg[name].to_dict() for name in ('sampler', 'rollout', 'objects')),
                      cfg.loss.first, cfg.loss.last)
  return workdir / 'shared' / key[:12]


def singles(rows):
  """{name: list}: the figures of single samples that paired intervals need."""
  shares = [f'{name}_{end}' for name in SHARES for end in ('right', 'count')
            if f'{name}_{end}' in rows]
  numbers = [name for name in evaluate.columns(rows) if name not in PLAIN]
  return {name: rows[name].astype(int).tolist() for name in ('object', *shares)} | {
      name: np.round(rows[name].astype(float), 4).tolist() for name in numbers}


def picture(config, problem, workdir, seed):
  """Writes workdir/pictures/SEED.png: true views, and views of the base and of those of
  config.pictures that are tuned, on equal noise."""
  base, views = problems.base(problem), []
  for name, changes in ((BASE, ()), *config.runs):
    cfg = FrozenConfigDict(changed(config, changes, seed))
    folder, model = run_folder(workdir, name, seed), base
    if name != BASE:
      path = folder / loop.ADAPTERS
      if name not in config.pictures or not path.exists():
        continue
      like = adapters.start(problem.params['denoiser'], cfg.lora, cfg.seed)
      model = problems.tuned(base, adapters.load(path, like), cfg.lora.scale)
    views.append(evaluate.views_of(problem, model, cfg, folder / 'test'))
  path = workdir / 'pictures' / f'{seed}.png'
  with workdirs.writing(path):
    evaluate.picture(path, problem, views)

"""The study of DSO: tuning runs by several seeds, and other ways to samples that stand.

`run(config, workdir)` is what `python -m experiments.dso_study` calls. A part of the study is a
list of tuning runs and of evaluations of the base, each a name and what it changes in the config of
`recipes/preference/run`. Its rows go to a table (JSON lines), which has a row for each model of
each run and seed; rows that it holds are not computed again.

All runs share a base model, test images and, per seed, the noise of the samples, so that rows of
one seed are compared sample by sample.
"""

import functools
import pathlib

import jax
from ml_collections import ConfigDict, FrozenConfigDict
import numpy as np

from jax3dgen.core import parallel, rng
from jax3dgen.core.errors import ConfigError, Jax3dgenError
from jax3dgen.metrics import geometry
from jax3dgen.physics import body as bodies
from jax3dgen.physics import stabilize, sweep
from jax3dgen.recipes.preference import blocks, evaluate, study_pictures, study_rows
from jax3dgen.recipes.preference import label as labels
from jax3dgen.recipes.preference import problem as problems
from jax3dgen.recipes.preference import run as preference

BASE = study_rows.BASE
LISTS = ('chamfer', 'iou')  # figures of single samples that a row holds


def default_config():
  """A locked ConfigDict: no runs; an unknown field raises."""
  c = ConfigDict()
  c.runs = ()  # ((name, ((field, value), ...)), ...): tuning runs, and what each changes
  c.evaluations = ()  # the same of evaluations of the base without tuning
  c.stabilize = False  # the base's samples that fall, deformed by physics/stabilize
  c.best_of = ()  # numbers of samples of which the one with the largest margin is taken
  c.pictures = ()  # test samples that a picture of each run's models shows
  c.steps = ()  # steps of the runs that are evaluated on the test images too
  c.engines = ()  # engines whose tilts the results of the runs, and the base, are put to
  c.tilts = 8  # tilts of each sample and size
  c.max_tilts = (0.01, 0.02, 0.04, 0.08)  # radians, DSO's Table 6
  c.first_seed = 0  # the seeds are this one and those that follow
  c.seeds = 3  # of tuning and sampling
  c.table = ''  # JSON lines of finished rows, which are not computed again; '': none
  c.dso = preference.default_config()  # what all runs share
  return c.lock()


def check(config):
  """ConfigError for the first invalid field."""
  if config.tilts < 1:
    raise ConfigError('config.tilts must be 1 or more.')
  for engine in config.engines:
    if engine not in sweep.ENGINES:
      raise ConfigError(f'config.engines={config.engines!r}: the engines are '
                        f'{", ".join(sweep.ENGINES)}.')
  study_rows.check(config, (*config.runs, *config.evaluations),
                   lambda changes: changed(config, changes, 0), preference.settings.check)


def changed(config, changes, seed):
  """The ConfigDict of a run: config.dso with `changes` and the seed's own noise."""
  c = config.dso.copy_and_resolve_references()
  c.update_from_flattened_dict(dict(changes))
  c.seed, c.pool.seed, c.evaluation.seed = seed, seed, 1000 + seed
  return c


def run(config, workdir, problem=None):
  """[row] of the study's part, by `study_rows.run`; `problem` as in `preference.run`.

  ConfigError where the config is invalid or a row of the table was made with other settings.
  """
  parallel.initialize()
  check(config)
  build = functools.cache(lambda: problem or problems.build(FrozenConfigDict(config.dso)))
  return study_rows.run(config, workdir, tasks(config), lambda task: compute(
      config, task, build(), pathlib.Path(workdir)))


def tasks(config):
  """The Tasks of the study's part, seed by seed."""
  runs = [(BASE, (), False), *((*run, True) for run in config.runs),
          *((*evaluation, False) for evaluation in config.evaluations)]
  result = []
  for seed in study_rows.seeds(config):
    for name, changes, tuned in runs:
      settings = changed(config, changes, seed)
      models = models_of(config, settings, name, tuned)
      result.append(study_rows.Task(name, seed, settings, tuple(models), tuned))
  return result


def models_of(config, settings, name, tuned):
  """The names of the models of a run or evaluation that have rows."""
  tilted = [f'tilts {engine}' for engine in config.engines if tuned or name == BASE]
  if not tuned:
    best = [f'best of {n}' for n in config.best_of] if name == BASE else []
    deformed = ['stabilize'] if config.stabilize and name == BASE else []
    return [BASE, *best, *deformed, *(f'{BASE} {t}' for t in tilted)]
  rounds = [f'round {n}' for n in range(1, settings.rounds + 1)]
  steps = [f'step {n}' for n in config.steps if n <= settings.train.steps]
  return [*rounds, *steps, *(f'{rounds[-1]} {t}' for t in tilted)]


def compute(config, task, problem, workdir):
  """Yields the rows of a Task."""
  name, seed, settings, tuned = task.name, task.seed, task.settings, task.tuned
  cfg = FrozenConfigDict(settings)
  head = task.head
  folder, shared = workdir / 'runs' / f'{name}-{seed}', workdir / 'shared'
  base = problems.base(problem)
  reference = evaluate_test(problem, base, changed(config, (), seed), shared / f'base-{seed}')
  if not tuned:
    rows = reference if name == BASE else evaluate_test(problem, base, settings, folder / 'test')
    yield head | {'model': BASE} | row_of(rows, reference, cfg)
    if name == BASE:
      yield from best_of(config, cfg, problem, base, reference, head, shared / f'best-{seed}')
      if config.stabilize:
        yield head | {'model': 'stabilize'} | row_of(
            deformed(cfg, problem, base, reference, shared / f'stabilize-{seed}'), reference, cfg)
    final, label = base, BASE
  else:
    final, rounds = base, []
    for number in range(1, cfg.rounds + 1):
      rounds.append(preference.tune_round(problem, base, final, cfg, number,
                                          folder / f'round_{number}',
                                          pool_folder(shared, cfg) if number == 1 else None))
      final, label = rounds[-1].model, f'round {number}'
      rows = evaluate_test(problem, final, settings, folder / 'test' / label.replace(' ', '_'))
      yield head | {'model': label} | row_of(rows, reference, cfg) | {
          'step': rounds[-1].record['step'], 'pairs': rounds[-1].record['pairs']}
    models = [base, *(r.model for r in rounds)]
    for step in config.steps:
      if step <= cfg.train.steps:
        model = problems.tuned(base, rounds[0].adapters[step], cfg.lora.scale)
        models.append(model)
        rows = evaluate_test(problem, model, settings, folder / 'test' / f'step_{step:06d}')
        yield head | {'model': f'step {step}'} | row_of(rows, reference, cfg)
    if config.pictures and parallel.is_main():
      study_pictures.write(workdir / 'pictures' / f'{name}-{seed}.png', problem, models,
                           config.pictures, cfg)
  if tuned or name == BASE:
    for engine in config.engines:
      yield head | {'model': f'{label} tilts {engine}'} | tilted(
          config, cfg, problem, final, engine, seed)


def pool_folder(shared, cfg):
  """The folder of the first pool, which runs with equal settings of it share."""
  key = blocks.digest(*(cfg[name].to_dict() for name in ('pool', 'images', 'sampler', 'label')),
                      cfg.pairs.by)
  return shared / f'pool-{key[:12]}'


def evaluate_test(problem, model, settings, folder):
  """`evaluate.run` of a ConfigDict on the test images."""
  return preference.evaluate_test(problem, model, FrozenConfigDict(settings), folder)


def row_of(rows, reference, cfg):
  """The figures of a table row: `evaluate.compared`, and those of single samples in `samples`."""
  figures = evaluate.compared(rows, reference, cfg.watch.volume)
  bits = lambda x: ''.join('01'[int(value)] for value in x)
  singles = {judge: bits(rows[f'stable_{judge}']) for judge in labels.JUDGES}
  return figures | {'singles': singles | {
      name: [None if np.isnan(x) else round(float(x), 4) for x in rows[name]] for name in LISTS} | {
          'image': rows['image'].tolist()}}


def best_of(config, cfg, problem, base, reference, head, folder):
  """Yields the rows of the sample with the largest settled margin, of the first n of an image."""
  if not config.best_of:
    return
  most, images = max(config.best_of), len(problem.test.object)
  rows = evaluate.run(problem, base, problem.test, most, cfg.evaluation.points, cfg, folder,
                      f'best of {most}', margins=True)
  order = rows['margin_deg'].reshape(images, most)
  first = {name: x.reshape(images, -1, *x.shape[1:])[:, 0] for name, x in reference.items()}
  for n in config.best_of:
    index = np.arange(images) * most + order[:, :n].argmax(1)
    chosen = {name: x[index] for name, x in rows.items()}
    yield head | {'model': f'best of {n}'} | row_of(chosen, first, cfg)


def deformed(cfg, problem, base, reference, folder):
  """`reference` with the samples that fall deformed until they stand (`physics/stabilize`).

  They are judged as they then are: without a cut, for `cut` and `raw` alike.
  """
  falls = np.flatnonzero(~reference['stable_cut'] & (reference['reason'] == ''))

  def compute(rows):
    index = falls[rows]
    figures = {name: reference[name][index].copy() for name in (
        'stable_cut', 'rotation_deg', 'chamfer', 'f_score')}
    for k, grid in enumerate(evaluate.logits_of(cfg, problem, base, index)):
      image = int(reference['image'][index[k]])
      try:
        mesh = stabilize.stabilize(labels.mesh(grid, cfg.label), cfg.label.seconds).mesh
        result = labels.drop([bodies.from_mesh(mesh)], cfg.label)
        scores = geometry.measure(jax.random.key(0), [mesh], [problem.test.mesh(image)],
                                  cfg.evaluation.points)
      except Jax3dgenError:
        continue
      figures['stable_cut'][k] = result.stable[0, 0]
      figures['rotation_deg'][k] = result.rotation_deg[0, 0]
      figures['chamfer'][k], figures['f_score'][k] = scores.chamfer[0], scores.f_score[0]
    return figures
  if not len(falls):
    return reference
  key = blocks.digest('stabilize', base.key, reference)
  more = blocks.run(folder, len(falls), 8, key, compute, 'stabilize')
  rows = {name: x.copy() for name, x in reference.items()}
  for name, values in (more | {'stable_raw': more['stable_cut']}).items():
    rows[name][falls] = values
  return rows


def tilted(config, cfg, problem, model, engine, seed):
  """{'samples', 'tilts', 'stable': {max tilt: share}} of a model's test samples under tilts."""
  rows = np.arange(len(problem.test.object) * cfg.evaluation.samples)
  items = [labels.bodies_of(grid, cfg.label)[0].get('cut')
           for grid in evaluate.logits_of(cfg, problem, model, rows)]
  usable = [item for item in items if item is not None]
  packed = bodies.pack(usable) if engine != 'native' else bodies.Bodies(tuple(usable), ())
  stable = {}
  for size in config.max_tilts:
    key = rng.stream(jax.random.key(seed), f'tilts {size}')
    result = sweep.run(packed, sweep.tilts(config.tilts, np.rad2deg(size), key), engine,
                       cfg.label.seconds, cfg.label.timestep, cfg.label.threshold_deg)
    stable[f'{size:g}'] = float(result.stable.sum() / (len(items) * config.tilts))
  return {'samples': len(items), 'tilts': config.tilts, 'stable': stable}

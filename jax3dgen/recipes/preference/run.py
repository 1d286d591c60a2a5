"""Self-improvement of a 3D generator (DSO): rounds of generate > label > tune, then evaluate.

`run(config, workdir)` is what `python -m experiments.dso` calls. Each phase has its own folder and
keeps what is done, so that the same call resumes it; a phase whose input changed is done again.
"""

import json
import pathlib
from typing import NamedTuple

from ml_collections import FrozenConfigDict
import numpy as np

from jax3dgen.core import files, parallel, tree
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.preference import adapters as adapter_files
from jax3dgen.recipes.preference import blocks, evaluate, page, select, tune
from jax3dgen.recipes.preference import config as settings
from jax3dgen.recipes.preference import pool as pools
from jax3dgen.recipes.preference import problem as problems
from jax3dgen.train import workdir as workdirs

default_config = settings.default_config


class Round(NamedTuple):
  """The outcome of a round: the Model after it, the record of it for result.json, and {step:
  adapters} of the steps that are kept."""
  model: problems.Model
  record: dict
  adapters: dict


def run(config, workdir, problem=None, allow_change=False, command=''):
  """Tunes a generator on its own samples into `workdir`; returns the figures of result.json.

  `problem` is a `problem.Problem`, by default that of the config. ConfigError where the config is
  invalid, or where no image of a pool has both a stable and an unstable sample.
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
    problem = problem or problems.build(cfg)
    base = model = problems.base(problem)
    rounds = []
    for number in range(1, cfg.rounds + 1):
      rounds.append(tune_round(problem, base, model, cfg, number, workdir / f'round_{number}'))
      model = rounds[-1].model
    models = {'base': base} | {f'round {n}': r.model for n, r in enumerate(rounds, 1)}
    rows = {name: evaluate_test(problem, model, cfg, workdir / 'test' / name.replace(' ', '_'))
            for name, model in models.items()}
    figures = {'rows': {name: evaluate.compared(table, rows['base'], cfg.watch.volume)
                        for name, table in rows.items()},
               'rounds': [r.record for r in rounds],
               'config_digest': outputs.config_digest(config)}
    return parallel.from_main(write, workdir, figures, cfg, command)


def tune_round(problem, base, model, cfg, number, folder, pool_folder=None):
  """The Round that tunes `model` on a pool of its own samples; `base` is the model of round 1,
  which the selection compares with. Several rounds may share the `pool_folder` of equal pools;
  None: `folder`."""
  pool_folder = pool_folder or folder
  latent = pools.generate(problem, model, cfg, number, pool_folder / 'generate')
  labels = pools.label(problem, latent, cfg, pool_folder / 'label')
  image = np.arange(len(latent)) // cfg.pool.samples
  table, left_out = tune.table_of(labels, image, problem.pool, cfg.pairs)
  report(labels, left_out, len(table.win.count), number)
  noise = (pools.noises(problem, cfg, number, np.arange(len(latent)))[1]
           if cfg.loss.noise == 'tracked' else None)
  arrays = tune.pool_arrays(latent, problem.pool.cond, noise)
  adapters = tune.run(problem, model, arrays, table, cfg, folder / 'tune', f'round {number}')
  step, steps = select.choose(problem, base, model, adapters, cfg, folder / 'select')
  if step:
    parallel.from_main(adapter_files.save, folder / 'adapters.safetensors', adapters[step],
                       cfg.lora.scale)
  record = {
      'step': step, 'samples': len(latent), 'stable': int(labels['stable_cut'].sum()),
      'not_judged': int((labels['reason'] != '').sum()), 'pairs': len(table.win.count),
      'left_out': {str(name): why for name, why in left_out.items()}, 'steps': steps,
      'digests': {'pool': blocks.digest({'latent': latent}), 'labels': blocks.digest(labels),
                  'adapters': tree.digest(adapters[step]) if step else ''}}
  after = problems.tuned(model, adapters[step], cfg.lora.scale) if step else model
  return Round(after, record, adapters)


def report(labels, left_out, count, number):
  """Prints what the pool of a round is."""
  if not parallel.is_main():
    return
  stable, reasons = labels['stable_cut'], labels['reason']
  print(f'Round {number}: {stable.sum()} of {len(stable)} samples stand; {count} images or objects '
        f'have pairs, {len(left_out)} have none.')
  for why in sorted(set(left_out.values())):
    names = [str(name) for name, reason in left_out.items() if reason == why]
    print(f'  {why}: {", ".join(names[:20])}{" ..." if len(names) > 20 else ""}')
  bad = np.flatnonzero(reasons != '')
  for row in bad[:5]:
    print(f'  sample {row} counts as unstable: {reasons[row]}')
  if len(bad) > 5:
    print(f'  and {len(bad) - 5} more samples that were not judged.')


def evaluate_test(problem, model, cfg, folder):
  """`evaluate.run` on the test images."""
  return evaluate.run(problem, model, problem.test, cfg.evaluation.samples, cfg.evaluation.points,
                      cfg, folder, folder.name)


def write(workdir, figures, cfg, command):
  """Writes dso.md and result.json; returns the figures."""
  with workdirs.writing(workdir):
    for name, text in (('dso.md', page.text(figures, cfg, command)),
                       ('result.json', json.dumps(figures, indent=1) + '\n')):
      with files.replacing(workdir / name) as beside:
        beside.write_text(text, encoding='utf-8')
  return figures

"""Figures of a model's views of test objects: likeness, true consistency, scores, diversity.

Axes: G objects, R samples of each, N = G R, V views, S pixels per side.
"""

import jax
from ml_collections import FrozenConfigDict
import numpy as np

from jax3dgen.core import image as pictures
from jax3dgen.data import multiview as world
from jax3dgen.export import turntable
from jax3dgen.metrics import frechet, intervals, perceptual, referee
from jax3dgen.metrics import multiview as metrics
from jax3dgen.recipes.multiview import rollouts
from jax3dgen.recipes.multiview import score as scores
from jax3dgen.recipes.nets import ship
from jax3dgen.recipes.preference import blocks

SHOWN = 8  # objects in a picture


def views_of(problem, model, cfg, folder):
  """Generated views [G, R, V, S, S, 3] in [0, 1] of the test objects; the noise follows from
  config.evaluation.seed, the object and the sample alone, so that it is equal for every model."""
  samples = FrozenConfigDict({'source': 'sampler', 'samples': cfg.evaluation.samples,
                              'scales': (0.0,)})
  x0 = rollouts.run(problem, model, problem.test, cfg.sampler, samples, cfg.evaluation.seed, (0, 0),
                    cfg.batch, folder, folder.name, ('x0',))['x0']
  return rollouts.decoded(problem, model.params, x0)


def run(problem, model, cfg, judges, folder):
  """{name: host array [N]} of the samples of the test objects, object by object.

  object and sample; those of `against_truth`; a column for each of `judges` {name: score.Judge};
  spread, the standard deviation over the samples of an object, NaN for one sample.
  """
  test = problem.test
  by_object = views_of(problem, model, cfg, folder)
  count, samples = by_object.shape[:2]
  number, views = np.repeat(np.arange(count), samples), by_object.reshape(-1, *by_object.shape[2:])
  spread = by_object.std(1).mean((1, 2, 3, 4)) if samples > 1 else np.full(count, np.nan)
  rows = against_truth(views, test, number, cfg.evaluation.lpips)
  rows |= {name: scores.by_judge(judge, test.reference[number], views, test.slot[number])
           for name, judge in judges.items()}
  return rows | {'object': number, 'sample': np.tile(np.arange(samples), count),
                 'spread': spread[number]}


def against_truth(views, test, number, lpips=''):
  """Columns of views [N, V, S, S, 3] of the objects `number` [N] of problem.Views, by what is
  known of them.

  Of figurines those of `metrics.columns`, and the referee's features [N, V, D] of the views and of
  the true ones; of other objects with true views psnr and ssim; of both 'lpips' or
  'feature_distance', by `perceptual.load` of the folder `lpips`; else none.
  """
  if test.images is None:
    return {}
  true, slot = test.images[number], test.slot[number]
  name, distance = perceptual.load(lpips)
  in_chunks = lambda *pairs: ship.in_chunks(lambda chunk: distance(*chunk), pairs, 500)
  if test.truth is None:
    rows = dict(zip(('psnr', 'ssim'), metrics.likeness(views, true, slot), strict=True))
  else:
    pick = lambda tree: jax.tree.map(lambda x: np.asarray(x)[number], tree)
    params = referee.load()
    rows = metrics.columns(views, pick(test.truth), pick(test.objects), world.HAND_RGB, slot)
    rows |= {'features': features(params, views), 'features_true': features(params, true)}
  return rows | {name: metrics.compare((in_chunks,), views, true, slot)[0]}


def features(params, views):
  """The referee's last features [N, V, D] of views [N, V, S, S, 3]."""
  rows = np.asarray(referee.features(params, views.reshape(-1, *views.shape[2:])))
  return rows.reshape(*views.shape[:2], -1)


def columns(rows):
  """The names of the columns of `run` that a table has: numbers, shares and scores."""
  fixed = {'object', 'sample', 'spread', 'features', 'features_true',
           *(f'{name}_{end}' for name in metrics.SHARES for end in ('right', 'count'))}
  plain = [name for name in (*metrics.NUMBERS, *metrics.SHARES)
           if name in rows or f'{name}_count' in rows]
  return plain + [name for name in rows if name not in fixed and name not in plain]


def value(rows, name, index=slice(None)):
  """The figure `name` of the samples `index`: a mean, or a share of the counted cases."""
  if name in metrics.SHARES:
    return rows[f'{name}_right'][index].sum() / max(rows[f'{name}_count'][index].sum(), 1)
  return rows[name][index].mean()


def summary(rows):
  """The figures of `run` as plain numbers: {name: value}, the counts of shares, the number of
  samples, `spread` (None for one sample), the Frechet distance of the referee's features of single
  views from the true views' (None where there are no features), and a digest."""
  numbers = {name: float(value(rows, name)) for name in columns(rows)}
  numbers |= {name: int(rows[name].sum()) for name in rows if name.endswith('_count')}
  moments = lambda x: frechet.moments(x.reshape(-1, x.shape[-1]))
  numbers['frechet'] = frechet.distance(*(moments(rows[name]) for name in (
      'features', 'features_true'))) if 'features' in rows else None
  spread = float(rows['spread'].mean())
  return numbers | {'samples': len(rows['object']), 'spread': None if np.isnan(spread) else spread,
                    'digest': blocks.digest(rows)}


def changes(rows, base):
  """{name: (change, low, high)} of the figures from those of the base on equal noise; 95 %
  intervals by the bootstrap over objects."""
  return {name: intervals.bootstrap(
      lambda index, name=name: value(rows, name, index) - value(base, name, index), rows['object'])
          for name in columns(rows)}


def picture(path, problem, views):
  """Writes a PNG: for each of the first test objects the reference and a row of true views, where
  they are known, and a row of its first sample in each of `views` [models] of [G, R, V, S, S, 3].
  """
  true = [] if problem.test.images is None else [problem.test.images[:SHOWN]]
  table = [*true, *(each[:SHOWN, 0] for each in views)]
  reference = problem.test.reference[:SHOWN, None]
  blank = np.ones_like(reference)
  rows = [np.concatenate([reference if i == 0 else blank, images], 1)
          for i, images in enumerate(table)]
  cells = np.stack(rows, 1)  # [objects, rows, 1 + V, S, S, 3]
  turntable.write_png(path, pictures.grid(cells.reshape(-1, *cells.shape[3:]), cells.shape[2]))

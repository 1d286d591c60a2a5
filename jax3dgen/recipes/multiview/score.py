"""Scores of rollouts, by which preferences are made, and their agreement with the truth.

Axes: G references, R rollouts of each, V views, S pixels per side.
"""

import numpy as np

from jax3dgen.metrics import multiview as metrics
from jax3dgen.recipes.multiview import evaluate
from jax3dgen.recipes.preference import blocks


def run(problem, pool, cfg, judge, folder):
  """Scores [G, R] of the final views of a pool by config.score.by, in blocks of rollouts.

  judge: (references [N, S, S, 3], views [N, V, S, S, 3], slots [N]) -> scores [N] of `judges`; None
  for the true PSNR.
  """
  images = problem.pool
  count, samples = pool['x0'].shape[:2]
  views = evaluate.decoded(problem, problem.params, pool['x0'])

  def compute(rows):
    object_, sample = np.divmod(rows, samples)
    shown, slot = views[object_, sample], images.slot[object_]
    if judge is None:
      return {'score': metrics.likeness(shown, images.images[object_], slot)[0]}
    return {'score': np.asarray(judge(images.reference[object_], shown, slot), np.float32)}
  key = blocks.digest({'x0': pool['x0']}, cfg.score.by, getattr(judge, 'key', ''))
  return blocks.run(folder, count * samples, cfg.batch, key, compute, 'score')['score'].reshape(
      count, samples)


JUDGES = ()


def judge(name, metric):
  return None


def agreement(score, problem, pool):
  """The share of the pairs of rollouts of a reference that `score` [G, R] and the true PSNR order
  alike; ties of the score are left out, None where there are only ties."""
  samples = score.shape[1]
  views = evaluate.decoded(problem, problem.params, pool['x0'])
  slot = np.repeat(problem.pool.slot, samples)
  true = metrics.likeness(views.reshape(-1, *views.shape[2:]),
                          np.repeat(problem.pool.images, samples, 0), slot)[0].reshape(score.shape)
  i, j = np.triu_indices(samples, 1)
  ours, theirs = (np.sign(x[:, i] - x[:, j]) for x in (score, true))
  decided = ours != 0
  return float((ours == theirs)[decided].mean()) if decided.any() else None

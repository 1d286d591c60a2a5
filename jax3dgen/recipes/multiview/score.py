"""Scores of generated views, by which preferences are made, and their agreement with the truth.

Axes: G references, R rollouts of each, V views, S pixels per side.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jax3dgen.core import tree
from jax3dgen.formats import features
from jax3dgen.metrics import multiview as metrics
from jax3dgen.perception import consistency, matching
from jax3dgen.recipes.multiview import rollouts
from jax3dgen.recipes.nets import ship
from jax3dgen.recipes.preference import blocks

NAMES = ('metric', 'matches')  # of scores that need no truth


class Judge(NamedTuple):
  """A score of views, and the digest of what it depends on.

  score: (references [N, S, S, 3], views [N, V, S, S, 3], slots [N]) -> [N].
  """
  score: Callable
  key: str


def judge(name, weights=''):
  """The Judge of the weights in a folder: 'metric' of `perception/consistency`, or 'matches' of
  features, '' being the shipped ones; or 'loftr', matches by LoFTR's published weights."""
  if name == 'loftr':
    apply, params = matching.load(weights)
    score = jax.jit(lambda *views: matching.loftr_score(apply, params, *views))
  elif name == 'matches':
    apply, params = features.load(weights or None)
    score = jax.jit(lambda *views: matching.score(apply, params, *views))
  else:
    apply, params = consistency.load(weights)
    score = lambda *views: consistency.score(apply, params, *views)
  return Judge(score, f'{name} {tree.digest(params)}')


def by_judge(judge, references, views, slots, size=100):
  """Scores [N] by a Judge, `size` objects at a time; host arrays."""
  return ship.in_chunks(lambda rows: judge.score(*rows), (references, views, slots), size)


def run(problem, pool, cfg, judge, folder):
  """Scores [G, R] of the final views of a pool by config.score.by, in blocks of rollouts.

  judge: a Judge; None for the true PSNR.
  """
  images = problem.pool
  count, samples = pool['x0'].shape[:2]

  def compute(rows):
    object_, sample = np.divmod(rows, samples)
    shown = rollouts.decoded(problem, problem.params, pool['x0'][object_, sample])
    slot = images.slot[object_]
    if judge is None:
      return {'score': metrics.likeness(shown, images.images[object_], slot)[0]}
    scores = by_judge(judge, images.reference[object_], shown, slot, cfg.batch)
    return {'score': np.asarray(scores, np.float32)}
  key = blocks.digest({'x0': pool['x0']}, judge.key if judge else 'psnr')
  return blocks.run(folder, count * samples, cfg.batch, key, compute, 'score')['score'].reshape(
      count, samples)


def agreement(score, true):
  """The share of the pairs of rollouts of a reference that `score` [G, R] and the PSNR `true` order
  alike; ties of the score are left out, None where there are only ties."""
  i, j = np.triu_indices(score.shape[1], 1)
  ours, theirs = (np.sign(x[:, i] - x[:, j]) for x in (score, true))
  decided = ours != 0
  return float((ours == theirs)[decided].mean()) if decided.any() else None

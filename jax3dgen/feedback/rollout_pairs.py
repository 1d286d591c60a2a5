"""Preferences between several rollouts of each reference image.

Rollouts of one reference share their first state; they differ in the noise added to the reference's
embedding (MV-D3PO), in the noise of the sampler (D3PO), or in both. A score of the final images
decides which is preferred.

Axes: G references, R rollouts of each, P pairs; a rollout's row is its place in G x R.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.feedback import rollout

SCALES = (0.0, 0.1, 0.3, 0.5, 0.8)  # of the noise on the embedding (the paper's App. B)
SOURCES = ('reference', 'sampler', 'both')


class Pairs(NamedTuple):
  """first, second [P] int32, rows of the pool; preferred [P] int32: 1 the first, -1 the second, 0
  neither."""
  first: np.ndarray
  second: np.ndarray
  preferred: np.ndarray


def keys(key, references, rollouts, source):
  """(rollout.Keys of G R rows, keys [G R] of `perturbed`) for a source of SOURCES.

  `references` [G] int number the references: a row depends on its own number alone.
  """
  if source not in SOURCES:
    raise ConfigError(f'Rollouts differ by the noise of the {", the ".join(SOURCES[:2])} or '
                      f'{SOURCES[2]}, not {source!r}.')
  references = jnp.asarray(references, jnp.int32)

  def of(name, differ):
    first = jax.vmap(lambda i: jax.random.fold_in(rng.stream(key, name), i))(references)
    fold = lambda k, r: jax.random.fold_in(k, r if differ else 0)
    return jax.vmap(lambda k: jax.vmap(lambda r: fold(k, r))(jnp.arange(rollouts)))(first).ravel()
  reference, steps = source != 'sampler', source != 'reference'
  return (rollout.Keys(of('start', False), of('steps', steps), of('reference', reference)),
          of('perturbation', True))


def perturbed(keys, embedding, scale):
  """embedding [N, ...] + scale [N] N(0, I), by keys [N]; where scale is 0 the embedding itself."""
  noise = jax.vmap(lambda key: jax.random.normal(key, embedding.shape[1:], embedding.dtype))(keys)
  scale = jnp.asarray(scale, embedding.dtype).reshape((-1,) + (1,) * (embedding.ndim - 1))
  return jnp.where(scale == 0, embedding, embedding + scale * noise)


def preference(first, second, gap=0.0):
  """1 where the score `first` is higher, -1 where `second` is, int32; 0 where they differ by `gap`
  or less, or one of them is not finite."""
  difference = np.subtract(first, second, dtype=np.float64)
  decided = np.isfinite(difference) & (np.abs(difference) > gap)
  return np.where(decided, np.sign(np.where(decided, difference, 0.0)), 0).astype(np.int32)


def all_pairs(score, gap=0.0):
  """The Pairs of every two rollouts of a reference, ties included, by scores [G, R]."""
  score = _scores(score)
  i, j = np.triu_indices(score.shape[1], 1)
  row = np.arange(score.size, dtype=np.int32).reshape(score.shape)
  return _decided(Pairs(row[:, i].ravel(), row[:, j].ravel(),
                        preference(score[:, i], score[:, j], gap).ravel()))


def extreme_pairs(score, gap=0.0):
  """The Pairs of the best rollout (first) and the worst of each reference, by scores [G, R]."""
  score = _scores(score)
  start = score.shape[1] * np.arange(len(score), dtype=np.int32)
  finite = np.isfinite(score)
  best = np.where(finite, score, -np.inf).argmax(1).astype(np.int32)
  worst = np.where(finite, score, np.inf).argmin(1).astype(np.int32)
  each = np.arange(len(score))
  return _decided(Pairs(start + best, start + worst,
                        preference(score[each, best], score[each, worst], gap)))


def advantages(score):
  """Scores [G, R] less the mean and over the standard deviation of their reference; 0 for equal
  scores. With two rollouts they are 1 and -1. Beyond the paper: they use all rollouts at once."""
  score = _scores(score).astype(np.float64)
  if not np.isfinite(score).all():
    raise ConfigError('Advantages need finite scores; drop the rollouts without one.')
  spread = np.ptp(score, 1, keepdims=True) > 0
  std = np.where(spread, score.std(1, keepdims=True), 1.0)
  _any(spread)
  return np.where(spread, (score - score.mean(1, keepdims=True)) / std, 0.0).astype(np.float32)


def at_equal_scale(pairs, scale):
  """The Pairs of which both rollouts had the same noise on the reference; scale [G R]."""
  scale = np.asarray(scale)
  equal = scale[pairs.first] == scale[pairs.second]
  return _decided(Pairs(*(x[equal] for x in pairs)))


def noise_control(pairs, scale):
  """Whether a preference merely encodes less noise on the reference; scale [G R].

  {'correlation': of the preference with the difference of the scales, 'less_noise': share won by
  the smaller scale, 'count': number} over the decided pairs with different scales; None where there
  are none. A correlation of -1, or a share of 1, means that the preference is the scale.
  """
  scale = np.asarray(scale, np.float64)
  difference = scale[pairs.first] - scale[pairs.second]
  used = (pairs.preferred != 0) & (difference != 0)
  if not used.any():
    return {'correlation': None, 'less_noise': None, 'count': 0}
  # Every pair in both orders, so that the order in which a pair is listed has no effect.
  win, d = (np.concatenate([x[used], -x[used]]) for x in (pairs.preferred, difference))
  return {'correlation': float(np.corrcoef(win, d)[0, 1]),
          'less_noise': float(np.mean(win * d < 0)), 'count': int(used.sum())}


def _scores(score):
  score = np.asarray(score)
  if score.ndim != 2 or score.shape[1] < 2 or not len(score):
    raise ConfigError(f'A preference needs two or more rollouts of a reference, not scores of the '
                      f'shape {score.shape}.')
  return score


def _decided(pairs):
  _any(pairs.preferred)
  return pairs


def _any(decided):
  if not np.any(decided):
    raise ConfigError('All preferences are ties, so there is nothing to tune on: the scores of the '
                      'rollouts of each reference do not differ.')

"""The Frechet distance between the features of two image sets (FID), and RecDreamer's uFID.

A set is represented by the first two moments of its features, in float64, which are merged exactly
across batches. The features are a function of the caller from images to [B, D]; report their name
with every distance. With fewer images than features a covariance is singular, which is numerically
harmless here, but the distance between two samples of one distribution is then far above 0: compare
sets of equal size only.

Axes: B images of a batch, D features, N images, K pose classes.
"""

from typing import NamedTuple

import chex
import numpy as np

from jax3dgen.core.errors import ConfigError


class Moments(NamedTuple):
  """count of images, mean [D], and scatter [D, D], the sum of outer products about the mean."""
  count: int
  mean: np.ndarray
  scatter: np.ndarray


def moments(features):
  """Moments of features [N, D]."""
  features = np.asarray(features, np.float64)
  chex.assert_rank(features, 2)
  mean = features.mean(0)
  centred = features - mean[None]
  return Moments(len(features), mean, centred.T @ centred)


def merge(a, b):
  """The Moments of two disjoint sets together (Chan, Golub and LeVeque 1983)."""
  count = a.count + b.count
  if not a.count or not b.count:
    return a if a.count else b
  gap = b.mean - a.mean
  return Moments(count, a.mean + gap * (b.count / count),
                 a.scatter + b.scatter + np.outer(gap, gap) * (a.count * b.count / count))


def stream(features, batches):
  """Moments of `features` (images -> [B, D]) of all images of `batches` (arrays [B, H, W, 3])."""
  total = None
  for images in batches:
    part = moments(features(images))
    total = part if total is None else merge(total, part)
  if total is None:
    raise ConfigError('There are no pictures to take the features of.')
  return total


def covariance(stats):
  """The unbiased covariance [D, D] of Moments; ConfigError for fewer than two pictures."""
  if stats.count < 2:
    raise ConfigError('A Frechet distance needs two pictures or more on each side; there is '
                      f'{stats.count}.')
  return stats.scatter / (stats.count - 1)


def distance(a, b):
  """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two Moments (Heusel et al. 2017).

  The trace of the root is the sum of the roots of the eigenvalues of C_a^(1/2) C_b C_a^(1/2), which
  is symmetric and positive semidefinite: unlike a root of C_a C_b it exists for singular
  covariances too. Eigenvalues within rounding errors of 0 count as 0, because the root would
  amplify them.
  """
  first, second = covariance(a), covariance(b)
  values, vectors = np.linalg.eigh(first)
  root = (vectors * np.sqrt(np.maximum(values, 0.0))[None]) @ vectors.T
  cross = np.linalg.eigvalsh(root @ second @ root)
  cross = cross[cross > len(cross) * np.finfo(float).eps * np.abs(cross).max()]
  gap = a.mean - b.mean
  trace = np.trace(first) + np.trace(second) - 2.0 * np.sqrt(cross).sum()
  return float(gap @ gap + trace)


def equal_poses(poses, classes, seed=0):
  """Indices into a set with poses [N] (classes 0 to K - 1) that show every pose equally often.

  RecDreamer's uFID resamples its target in this way: N / K indices per class, without repetition
  where there are enough, else every image equally often, up to one. Returns
  (indices, counts [K] of the classes); a class without images is left out.
  """
  rng, poses = np.random.default_rng(seed), np.asarray(poses)
  counts = np.bincount(poses, minlength=classes)
  share = max(len(poses) // classes, 1)
  rows = []
  for k in np.flatnonzero(counts):
    permutation = rng.permutation(np.flatnonzero(poses == k))
    rows.append(np.resize(permutation, share))  # repeats them where there are too few
  return np.concatenate(rows) if rows else np.zeros(0, int), counts

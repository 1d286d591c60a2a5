"""Diversity of the objects of one prompt: Inception variation and quality, and feature cosines.

Variation (IV) and quality (IQ) are those of DiverseDream, which JSD reports as well.

Axes: P objects (particles, seeds), V views, each from the same cameras, K classes, D features. Any
classifier of K classes can replace that of ImageNet.
"""

import chex
import numpy as np

from jax3dgen.metrics import entropy


def variation(p):
  """IV: entropy of the mean of probabilities p [P, V, K] over objects and views; at most ln K."""
  chex.assert_rank(p, 3)
  return float(entropy.entropy(np.asarray(p, np.float64).mean((0, 1))))


def variation_by_view(p):
  """The older form of IV: each view's mean over the objects has an entropy; their mean."""
  chex.assert_rank(p, 3)
  return float(entropy.entropy(np.asarray(p, np.float64).mean(0)).mean())


def quality(p):
  """IQ: mean entropy of the single images, p [P, V, K]; lower is surer, at most IV."""
  chex.assert_rank(p, 3)
  return float(entropy.entropy(p).mean())


def cosine(features):
  """Mean over views of the mean cosine of pairs of objects, features [P, V, D]; 1: all are alike.

  Needs two objects or more; features without length have the cosine 0.
  """
  features = np.asarray(features, np.float64)
  chex.assert_rank(features, 3)
  count = len(features)
  if count < 2:
    raise ValueError(f'Pairs need two objects or more; got {count}.')
  length = np.linalg.norm(features, axis=-1, keepdims=True)
  unit = features / np.where(length > 0, length, 1.0)
  pairs = np.einsum('pvd,qvd->vpq', unit, unit)
  apart = ~np.eye(count, dtype=bool)
  return float(pairs[:, apart].mean())

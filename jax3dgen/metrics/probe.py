"""Linear probes of an attribute on the features of a network that was trained on others.

Ridge regression of +1 and -1 on standardised features, without a penalty on the intercept. Axes: N
examples, D features.
"""

from typing import NamedTuple

import numpy as np


class Probe(NamedTuple):
  """score = (features - mean) / spread @ weights + bias; mean, spread and weights are [D]."""
  mean: np.ndarray
  spread: np.ndarray
  weights: np.ndarray
  bias: float


def fit(features, labels, ridge=1e-3):
  """The Probe of features [N, D] and labels [N] bool; `ridge` is the penalty per example."""
  features = np.asarray(features, np.float64)
  mean, spread = features.mean(0), features.std(0)
  spread = np.where(spread > 0, spread, 1.0)  # a constant feature has weight 0
  count, width = features.shape
  targets = np.where(labels, 1.0, -1.0)
  bias = targets.mean()
  rows = np.concatenate([(features - mean[None]) / spread[None],
                         np.sqrt(ridge * count) * np.eye(width)])
  weights = np.linalg.lstsq(rows, np.concatenate([targets - bias, np.zeros(width)]), rcond=None)[0]
  return Probe(mean, spread, weights, float(bias))


def score(probe, features):
  """Scores [N] of features [N, D]; positive predicts the attribute."""
  return (np.asarray(features) - probe.mean[None]) / probe.spread[None] @ probe.weights + probe.bias

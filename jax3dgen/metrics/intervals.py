"""Confidence intervals: of proportions, and of any statistic by the bootstrap."""

import numpy as np
from scipy import stats

RESAMPLES = 2000


def wilson(hits, count, level=0.95):
  """(low, high): Wilson's score interval of the share of `hits` in `count` trials."""
  interval = stats.binomtest(hits, count).proportion_ci(level, method='wilson')
  return float(interval.low), float(interval.high)


def share(hits, count):
  """'3 of 10 (11% to 60%)': the hits, the trials and the 95 % interval of their share."""
  if not count:
    return 'no runs'
  low, high = wilson(hits, count)
  return f'{hits} of {count} ({low:.0%} to {high:.0%})'


def bootstrap(statistic, groups, level=0.95):
  """(value, low, high) of `statistic` (index [N] int -> number) by the percentile bootstrap.

  What is resampled, RESAMPLES times with one seed, are the groups [N]: rows of one group, such as
  the samples of one object, stay together.
  """
  groups = np.asarray(groups)
  members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
  rng = np.random.default_rng(0)
  draws = [statistic(np.concatenate([members[i] for i in rng.integers(
      0, len(members), len(members))])) for _ in range(RESAMPLES)]
  low, high = np.percentile(draws, [50 * (1 - level), 50 * (1 + level)])
  return float(statistic(np.arange(len(groups)))), float(low), float(high)


def bootstrap_mean(values, groups, level=0.95):
  """(mean, low, high) of values [N] by the percentile bootstrap over groups [N], as `bootstrap`.

  In one matrix product: a resampled mean depends on how often each group was drawn.
  """
  _, index = np.unique(groups, return_inverse=True)
  total, count = np.bincount(index, values), np.bincount(index)
  drawn = np.random.default_rng(0).multinomial(len(count), np.full(len(count), 1 / len(count)),
                                               RESAMPLES)
  low, high = np.percentile(drawn @ total / (drawn @ count),
                            [50 * (1 - level), 50 * (1 + level)])
  return float(np.mean(values)), float(low), float(high)

"""Confidence intervals of binomial proportions."""

from scipy import stats


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

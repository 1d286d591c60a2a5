"""Divergences of two probability densities p and q, in nats: on a grid, or from samples of both.

KL(p, q) = E_p[log(p / q)], JSD(p, q) = KL(p, m) / 2 + KL(q, m) / 2 with m = (p + q) / 2, and
TV(p, q) = half the integral of |p - q|. 0 <= JSD <= log(2) TV <= log 2. On a grid, densities are
arrays of one shape and `cell` is the volume of a cell; with `cell` 1 they are probabilities.
"""

import numpy as np
from scipy import special


def kl(p, q, cell=1.0):
  """KL(p, q); infinite where q is 0 and p is not."""
  return float(special.rel_entr(p, q).sum() * cell)


def jsd(p, q, cell=1.0):
  """The Jensen-Shannon divergence, between 0 and log 2."""
  total = np.asarray(p) + np.asarray(q)  # not halved: half of the least number is 0
  return 0.5 * (kl(p, total, cell) + kl(q, total, cell) + float(np.log(2) * total.sum() * cell))


def total_variation(p, q, cell=1.0):
  """The total variation distance, between 0 and 1."""
  return float(0.5 * np.abs(np.asarray(p) - np.asarray(q)).sum() * cell)


def discriminator(p, q):
  """p / (p + q), the optimal discriminator (Goodfellow et al. 2014); 1/2 where both are 0."""
  total = np.asarray(p) + np.asarray(q)
  return np.where(total > 0, p / np.where(total > 0, total, 1.0), 0.5)


def discriminator_value(p, q, logit, cell=1.0):
  """V = E_p[log d] + E_q[log(1 - d)] of a discriminator d = 1 / (1 + exp(-logit)).

  It is largest, 2 JSD - log 4, at logit = log(p / q).
  """
  return float(-(p * np.logaddexp(0.0, -logit) + q * np.logaddexp(0.0, logit)).sum() * cell)


def of_samples(at_p, at_q):
  """(KL(p, q), JSD, TV) estimated from log(p / q) at samples of p [N] and at samples of q [M]."""
  at_p, at_q = np.asarray(at_p, np.float64), np.asarray(at_q, np.float64)
  softplus = lambda x: np.logaddexp(0.0, x)
  divergence = np.log(2) - 0.5 * (softplus(-at_p).mean() + softplus(at_q).mean())
  apart = lambda x: np.abs(np.tanh(0.5 * x)).mean()  # |p - q| / (p + q)
  return float(at_p.mean()), float(divergence), float(0.5 * (apart(at_p) + apart(at_q)))

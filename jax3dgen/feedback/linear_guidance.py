"""Guidance of a diffusion whose data are Gaussian in a linear subspace, in closed form.

X_0 = A z with A^T A = I and z ~ N(mu, Sigma) (Assumption 1 of the multi-view preference paper);
X_t = alpha X_0 + sqrt(h) n with h = 1 - alpha^2, and S = alpha^2 Sigma + h I is the covariance of
A^T X_t. The paper's guidance compares views a_i with E[X_0 | X_t] (simple) or a true sample with it
(contrastive). All is affine in X_t, so that the guided sampler has Gaussian end laws: by moment
equations for any of them, in closed form for some (ours).

In float64 with numpy. Axes: D dimensions of the data, M of the subspace, ... samples.
"""

from typing import NamedTuple

import numpy as np
from scipy import integrate, special


class Data(NamedTuple):
  """basis A [D, M] with orthonormal columns, mean mu [M], covariance Sigma [M, M]."""
  basis: np.ndarray
  mean: np.ndarray
  covariance: np.ndarray


class Law(NamedTuple):
  """A Gaussian: mean [D], covariance [D, D]."""
  mean: np.ndarray
  covariance: np.ndarray


def _gain(data, alpha):
  """Sigma S^-1 [M, M], symmetric because both have the same eigenvectors."""
  noised = alpha**2 * data.covariance + (1 - alpha**2) * np.eye(len(data.mean))
  return np.linalg.solve(noised, data.covariance)


def clean_mean(data, x, alpha):
  """E[X_0 | X_t = x] [..., D]: A (mu + alpha Sigma S^-1 (A^T x - alpha mu))."""
  latent = data.mean + alpha * (x @ data.basis - alpha * data.mean) @ _gain(data, alpha)
  return latent @ data.basis.T


def score(data, x, alpha):
  """The gradient of log q_t at x [..., D]: (alpha E[X_0 | x] - x) / h."""
  return (alpha * clean_mean(data, x, alpha) - x) / (1 - alpha**2)


def jacobian(data, alpha):
  """J = dE[X_0 | X_t] / dX_t [D, D]: alpha A Sigma S^-1 A^T, positive semidefinite of rank M."""
  return alpha * data.basis @ _gain(data, alpha) @ data.basis.T


def simple(data, x, alpha, a, target):
  """Corollary 1: -grad (target - a^T E[X_0 | x])^2 = 2 (target - a^T E) J a, [..., D] for a [D]."""
  away = target - clean_mean(data, x, alpha) @ a
  return 2 * away[..., None] * (jacobian(data, alpha) @ a)


def contrastive(data, clean, x, alpha, a, approximate, target, residual=False):
  """Contrastive guidance [..., D] by a true sample `clean` [D] and a generated one, x [..., D].

  Theorem 1 of the paper: 2 (target - a^T clean) a - 2 J a', with a' = `approximate` the view of the
  generated data. With `residual` the second term is the gradient of (target - a'^T E[X_0 | x])^2
  and has that factor, which the theorem lacks.
  """
  toward = 2 * (target - clean @ a) * a
  if residual:
    return toward - simple(data, x, alpha, approximate, target)
  return np.broadcast_to(toward - 2 * jacobian(data, alpha) @ approximate, x.shape)


def affine(function, size):
  """(matrix [D, D], vector [D]) of an affine function of x [..., D]: x -> matrix x + vector."""
  vector = function(np.zeros(size))
  return (function(np.eye(size)) - vector).T, vector


def noised(data, alpha):
  """The Law of X_t without guidance."""
  size = len(data.basis)
  return Law(alpha * data.basis @ data.mean,
             alpha**2 * data.basis @ data.covariance @ data.basis.T
             + (1 - alpha**2) * np.eye(size))


def end_law(data, guidance, limit=30.0):
  """The Law of the guided sampler's samples by its moment equations.

  The reverse process is dX = (X / 2 + score + G) dc + dB in the clock c = 2 log alpha, whatever the
  schedule beta. With score + G = F X + f: m' = (F + 1/2) m + f and C' = (F + 1/2) C + C (F + 1/2)^T
  + I. Solved over log(alpha^2 / h) from -limit to limit; guidance (x, alpha) -> G [..., D].
  """
  size = len(data.basis)

  def slope(log_snr, state):
    alpha = np.sqrt(special.expit(log_snr))
    h = 1 - alpha**2
    matrix, vector = affine(lambda x: score(data, x, alpha) + guidance(x, alpha), size)
    matrix = h * (matrix + 0.5 * np.eye(size))  # dc = h d log_snr
    mean, covariance = state[:size], state[size:].reshape(size, size)
    return np.concatenate([
        matrix @ mean + h * vector,
        (matrix @ covariance + covariance @ matrix.T + h * np.eye(size)).ravel()])
  start = noised(data, np.sqrt(special.expit(-limit)))
  end = integrate.solve_ivp(slope, (-limit, limit),
                            np.concatenate([start.mean, start.covariance.ravel()]),
                            method='DOP853', rtol=1e-9, atol=1e-11).y[:, -1]
  return Law(end[:size], end[size:].reshape(size, size))


def sample(generator, data, guidance, count, steps, limit=14.0):
  """Samples [count, D] of the guided sampler: the paper's Eq. 1, which holds the score within a
  step, on `steps` even steps of log(alpha^2 / h); `generator` is numpy's."""
  alphas = np.sqrt(special.expit(np.linspace(-limit, limit, steps + 1)))
  start = noised(data, alphas[0])
  x = generator.multivariate_normal(start.mean, start.covariance, count)
  for alpha, following in zip(alphas[:-1], alphas[1:]):
    growth = following / alpha  # exp of half of the clock's step
    x = (growth * x + 2 * (growth - 1) * (score(data, x, alpha) + guidance(x, alpha))
         + np.sqrt(growth**2 - 1) * generator.standard_normal(x.shape))
  return x


def contrastive_end(data, clean, a, approximate, target, scale):
  """The Law under `scale` times the contrastive guidance of Theorem 1, in closed form (ours).

  A constant impulse at alpha moves the end by J(alpha) times it, so that the mean moves, in the
  subspace, by scale (4 (target - a^T clean) I(Sigma) A^T a - 2 Sigma A^T a'), and the covariance
  stays. I(s) is the integral over alpha in [0, 1] of s / (alpha^2 s + h).
  """
  values, vectors = np.linalg.eigh(data.covariance)
  whole = (vectors * _integral(values)) @ vectors.T
  shift = scale * (4 * (target - clean @ a) * whole @ data.basis.T @ a
                   - 2 * data.covariance @ data.basis.T @ approximate)
  return Law(data.basis @ (data.mean + shift), data.basis @ data.covariance @ data.basis.T)


def _integral(s):
  """s artanh(r) / r with r^2 = 1 - s for s < 1, its continuation s arctan(r) / r beyond, 1 at 1."""
  r = np.sqrt(np.abs(1 - s))
  safe = np.where(r > 1e-6, r, 1.0)
  below, above = np.arctanh(np.minimum(np.where(s < 1, safe, 0.0), 1 - 1e-16)), np.arctan(safe)
  return np.where(r > 1e-6, s * np.where(s < 1, below, above) / safe, 1.0)


def simple_end(data, a, target, scale):
  """The Law under `scale` times simple guidance for Sigma = s I, in closed form (ours).

  E[X_0 | X_t] is then an Ornstein-Uhlenbeck process in a clock that ends at s: with n = |A^T a| the
  mean of a^T X_0 tends to target by exp(-2 scale n^2 s), and the variance along A^T a is
  (1 - exp(-4 scale n^2 s)) / (4 scale n^2).
  """
  s, latent = data.covariance[0, 0], data.basis.T @ a
  squared = latent @ latent
  decay = 2 * scale * squared * s
  mean = data.mean + latent / squared * (target - latent @ data.mean) * -np.expm1(-decay)
  along = np.outer(latent, latent) / squared
  variance = -np.expm1(-2 * decay) / (2 * decay / s)
  covariance = s * np.eye(len(latent)) + (variance - s) * along
  return Law(data.basis @ mean, data.basis @ covariance @ data.basis.T)

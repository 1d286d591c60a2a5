"""Noise schedules: x_t = alpha(t) x_0 + sigma(t) eps, t in [0, 1]."""

import jax.numpy as jnp

from jax3dgen.prior.base import Schedule


def _cosine_alpha(t):
  return jnp.cos(0.5 * jnp.pi * t)


def _cosine_sigma(t):
  return jnp.sin(0.5 * jnp.pi * t)


def _flow_alpha(t):
  return 1.0 - t


def _flow_sigma(t):
  return t


# Variance preserving: the angle t pi / 2 grows evenly (Salimans & Ho 2022, without the clipping).
COSINE = Schedule(_cosine_alpha, _cosine_sigma, (0.005, 0.995))
# Rectified flow: a straight line from data to noise (Liu et al. 2022).
FLOW = Schedule(_flow_alpha, _flow_sigma, (0.005, 0.995))


def snr(schedule, t):
  """Signal-to-noise ratio alpha^2 / sigma^2 [...] at t [...]."""
  return (schedule.alpha(t) / schedule.sigma(t)) ** 2


def min_snr_v(schedule, t, gamma):
  """Min-SNR weight [...] of a v-prediction loss: min(snr, gamma) / (snr + 1) (Hang et al. 2023).

  Written without the ratio, so that both ends of the schedule are finite.
  """
  signal, noise = schedule.alpha(t) ** 2, schedule.sigma(t) ** 2
  return jnp.minimum(signal, gamma * noise) / (signal + noise)

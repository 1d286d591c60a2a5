"""Noise schedules: x_t = alpha(t) x_0 + sigma(t) eps, t in [0, 1]."""

import jax.numpy as jnp
import numpy as np

from jax3dgen.core.errors import WeightError
from jax3dgen.prior.base import Schedule

MIN_ALPHA = 0.01  # smallest alpha at which a clean estimate, which divides by it, is accurate


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


def index(t, count):
  """The noise level of a network of `count` levels at t [...]: round(count t) within its range."""
  return jnp.clip(jnp.round(count * t), 0, count - 1).astype(jnp.int32)


def discrete(betas):
  """The schedule of a network with the discrete levels of `betas` [N] (Ho et al. 2020).

  alpha^2 is the product of 1 - beta; both coefficients are read at the network's own `index`.
  """
  power = np.cumprod(1.0 - np.asarray(betas, np.float64))
  alphas, sigmas = (np.sqrt(x).astype(np.float32) for x in (power, 1.0 - power))
  last = int(np.flatnonzero(alphas >= MIN_ALPHA).max())
  return Schedule(lambda t: jnp.asarray(alphas)[index(t, len(alphas))],
                  lambda t: jnp.asarray(sigmas)[index(t, len(sigmas))], (0.0, last / len(alphas)))


def betas(config):
  """The betas [N] that a published scheduler_config.json (a dict) describes.

  WeightError for a schedule that is not supported.
  """
  kind, count = config.get('beta_schedule', 'linear'), config.get('num_train_timesteps', 1000)
  if config.get('trained_betas') is not None:
    kind = 'trained_betas'
  try:
    low, high = float(config.get('beta_start', 1e-4)), float(config.get('beta_end', 0.02))
    values = {'linear': lambda: np.linspace(low, high, count),
              'scaled_linear': lambda: np.linspace(low**0.5, high**0.5, count) ** 2}[kind]()
  except (KeyError, TypeError, ValueError) as error:
    raise WeightError(f'The schedule beta_schedule={kind!r} of {count!r} levels is not known; '
                      'linear and scaled_linear are.') from error
  return zero_terminal(values) if config.get('rescale_betas_zero_snr') else values


def zero_terminal(betas):
  """Betas [N] rescaled to zero terminal signal-to-noise ratio (Lin et al. 2024, Alg. 1)."""
  alpha = np.sqrt(np.cumprod(1.0 - betas))
  alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
  power = alpha**2
  return 1.0 - np.concatenate([power[:1], power[1:] / power[:-1]])

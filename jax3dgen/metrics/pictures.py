"""Differences of two pictures: PSNR and SSIM (Wang et al. 2004).

Axes: B pictures, H and W rows and columns, C channels; values in [0, 1].
"""

import jax.numpy as jnp
import numpy as np

SIDE, SIGMA = 11, 1.5  # pixels of the window and its standard deviation
C1, C2 = 0.01**2, 0.03**2
LEAST = 1e-10  # mean squared error of the highest PSNR, 100 dB


def psnr(a, b):
  """Peak signal-to-noise ratio in dB [...] of pictures [..., H, W, C]."""
  return -10.0 * jnp.log10(jnp.maximum(jnp.square(a - b).mean((-3, -2, -1)), LEAST))


def ssim(a, b):
  """Structural similarity [B] of pictures [B, H, W, C]: the mean over channels and over all
  Gaussian windows of 11 x 11 pixels within the picture."""
  def blur(x):
    x = jnp.einsum('ij,bjkc->bikc', _windows(x.shape[1]), x)
    return jnp.einsum('kl,bilc->bikc', _windows(x.shape[2]), x)

  mean_a, mean_b = blur(a), blur(b)
  var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
  covariance = blur(a * b) - mean_a * mean_b
  index = (2 * mean_a * mean_b + C1) * (2 * covariance + C2) / (
      (mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))
  return index.mean((1, 2, 3))


def _windows(size):
  """[size - 10, size]: the weights of each window."""
  place = np.arange(size)[None] - np.arange(size - SIDE + 1)[:, None] - SIDE // 2
  weights = np.exp(-0.5 * (place / SIGMA) ** 2) * (np.abs(place) <= SIDE // 2)
  return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)

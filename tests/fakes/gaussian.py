"""A prior whose optimal noise prediction is known: x_0 ~ N(mean, std^2), in closed form."""

import jax.numpy as jnp
import numpy as np

from jax3dgen.core.types import Camera, Prompt, View
from jax3dgen.prior import base, schedule


def prior(mean, std):
  """A Prior over images [B, h, w, c] with independent N(mean, std^2) entries.

  The condition is a shift [B] of the mean, so that guidance has something to guide. The kernel
  adds a share of x_t; it is 0, and there for adapters to change.
  """
  cosine = schedule.COSINE

  def predict(params, x_t, t, cond):
    alpha, sigma = (base.broadcast(f(t), x_t) for f in (cosine.alpha, cosine.sigma))
    center = alpha * (params['mean'] + base.broadcast(cond, x_t))
    eps = sigma * (x_t - center) / (alpha**2 * params['std']**2 + sigma**2)
    return eps + params['denoiser']['attn']['kernel'][0, 0] * x_t

  record = base.Prior(init=lambda key: {}, embed=lambda params, tokens: tokens, predict=predict,
                      encode=lambda params, image: image, decode=lambda params, x0: x0,
                      schedule=cosine)
  return record, {'mean': jnp.float32(mean), 'std': jnp.float32(std),
                  'denoiser': {'attn': {'kernel': jnp.asarray(np.zeros((1, 1), np.float32))}}}


def view(x0, t, guide, shift=0.0, azimuth=0.0, elevation=0.0, negative=0.0, source=0.0, step=0):
  """A View of x0 [B, h, w, c] at noise level t whose every text row shifts the mean by `shift`."""
  batch = x0.shape[0]
  full = lambda value: jnp.asarray(np.full(batch, value, np.float32))
  camera = Camera(jnp.asarray(np.zeros((batch, 4, 4), np.float32)), full(azimuth), full(elevation),
                  full(3.0), full(0.7))
  row = jnp.float32(shift)
  prompt = Prompt(row, row, row, row, row, jnp.float32(0), jnp.float32(negative),
                  (jnp.float32(source),) * 4)
  return View(x0, x0, x0, full(t), prompt, camera, jnp.int32(step), guide)

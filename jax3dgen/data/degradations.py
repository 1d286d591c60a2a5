"""Image degradations with words in captions: blurry, noisy, pixelated, oversaturated, foggy."""

import jax
import jax.numpy as jnp
import numpy as np

BLUR = 0.045  # standard deviation as a part of the image's height
BLOCKS = 8  # pixels of a pixelated image along an edge
NOISE = 0.18
SATURATION, CONTRAST = 2.5, 1.6
FOG, FOG_LEVEL = 0.65, 0.84


def _matrices(size):
  """[6, size, size]: the linear map of each degradation along an axis of the image."""
  i = np.arange(size)
  blur = np.exp(-0.5 * ((i[:, None] - i[None]) / (BLUR * size)) ** 2)
  block = i * BLOCKS // size
  pixelate = (block[:, None] == block[None]).astype(np.float64)
  keep = np.eye(size)
  stack = np.stack([keep, blur, keep, pixelate, keep, keep])
  return jnp.asarray(stack / stack.sum(-1, keepdims=True), jnp.float32)


def degrade(key, image, degradation):
  """image [B, S, S, 3] in [0, 1] with the fault [B] (index into `prompts.DEGRADATIONS`) of each."""
  matrix = _matrices(image.shape[1])[degradation]
  x = jnp.einsum('bij,bjkc->bikc', matrix, image)
  x = jnp.einsum('bkl,bilc->bikc', matrix, x)
  has = lambda k: (degradation == k)[:, None, None, None]
  x = x + jnp.where(has(2), NOISE, 0.0) * jax.random.normal(key, image.shape)
  gray = x.mean(-1, keepdims=True)
  vivid = gray + SATURATION * (x - gray)
  x = jnp.where(has(4), 0.5 + CONTRAST * (vivid - 0.5), x)
  x = jnp.where(has(5), FOG_LEVEL + (1.0 - FOG) * (x - FOG_LEVEL), x)
  return jnp.clip(x, 0.0, 1.0)

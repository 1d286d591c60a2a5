"""A linear approximation of an encoder: latents from the mean colours of their cells.

Stable Diffusion's latents are nearly a linear map of the image's colours (Latent-NeRF, Metzer et
al. 2023), and the encoder with its backward pass costs more than the guided denoiser. The map is
fitted to the encoder of the prior.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import image as images

PICTURES = 4  # pictures that the map is fitted to: thousands of cells
PIXELS, PATCHES = 64, 8  # per side of a picture, and random colours per side of it


def fit(prior, params):
  """{'kernel' [3, c], 'bias' [c]}: least squares from colours to `prior.encode` of smooth pictures.
  """
  colours = jax.random.uniform(jax.random.key(0), (PICTURES, PATCHES, PATCHES, 3))
  pictures = images.resize(colours, (PIXELS, PIXELS))
  encode = jax.jit(lambda params, picture: prior.encode(params, picture[None])[0])
  x0 = np.stack([np.asarray(encode(params, picture), np.float64) for picture in pictures])
  cells = np.asarray(images.resize(pictures, x0.shape[1:3]), np.float64).reshape(-1, 3)
  solution = np.linalg.lstsq(np.pad(cells, ((0, 0), (0, 1)), constant_values=1.0),
                             x0.reshape(-1, x0.shape[-1]), rcond=None)[0]
  return {'kernel': jnp.asarray(solution[:3], jnp.float32),
          'bias': jnp.asarray(solution[3], jnp.float32)}


def encode(linear, picture, size):
  """x_0 [B, h, w, c] of `picture` [B, H, W, 3] in [0, 1] by `linear` of `fit`; size is (h, w)."""
  return images.resize(picture, size) @ linear['kernel'] + linear['bias'][None, None, None]

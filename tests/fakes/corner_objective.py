"""Rectified SDS, for `config.distill.name`, whose four poses are the corners of an image."""

import jax
import jax.numpy as jnp

from jax3dgen.distill import rectifier, sds


def brightest_corner(params, image, t, cfg):
  """p [B, 4] by the mean brightness of each quarter of the images [B, H, W, C]."""
  half = image.shape[1] // 2
  brightness = lambda rows, columns: image[:, rows, columns].mean((1, 2, 3))
  halves = slice(None, half), slice(half, None)
  return jax.nn.softmax(9 * jnp.stack([brightness(rows, columns) for rows in halves
                                       for columns in halves], -1))


DEFAULTS = sds.DEFAULTS | rectifier.DEFAULTS
DISTILLATION = rectifier.rectified(sds.DISTILLATION, brightest_corner)

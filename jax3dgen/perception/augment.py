"""Image augmentations that preserve the pose: crops, colours, greyscale, outlines.

Axes: B images, H and W pixel rows and columns. Images are float32 in [0, 1] on white; places run
from -1 (the left or upper edge) to 1. Random amounts are drawn by the caller.
"""

from flax import struct
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.types import Array

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601
CYCLE = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32) / np.sqrt(np.float32(3))


@struct.dataclass
class Crop:
  """A crop as an affine map: its place p shows the image at y = shift_y + scale_y p_y,
  x = shift_x + scale_x p_x + shear p_y. shift, scale [B, 2] as (x, y), shear [B]."""
  shift: Array
  scale: Array
  shear: Array


def places(size):
  """Centres [size] of `size` equal pixels between -1 and 1."""
  return (2 * np.arange(size, dtype=np.float32) + 1) / size - 1


def source(crop, x, y):
  """Places (x, y) in the image of places x, y [B, N] in a crop."""
  at = lambda v: v[:, None]
  return (at(crop.shift[:, 0]) + at(crop.scale[:, 0]) * x + at(crop.shear) * y,
          at(crop.shift[:, 1]) + at(crop.scale[:, 1]) * y)


def target(crop, x, y):
  """Places (x, y) in a crop of places x, y [B, N] in the image: the inverse of `source`."""
  at = lambda v: v[:, None]
  y = (y - at(crop.shift[:, 1])) / at(crop.scale[:, 1])
  return (x - at(crop.shift[:, 0]) - at(crop.shear) * y) / at(crop.scale[:, 0]), y


def hats(place, size, width=1.0):
  """Weights [..., size] of linear interpolation at `place` [...] between `size` pixels.

  `width` >= 1, which broadcasts with the weights, widens the kernel, in pixels; they sum to 1
  inside the picture, to 0 far outside of it.
  """
  gap = 0.5 * size * (place[..., None] - places(size).reshape((1,) * place.ndim + (size,)))
  return jnp.maximum(1.0 - jnp.abs(gap) / width, 0.0) / width


def apply_crop(images, crop):
  """images [B, H, W, C] cropped, at the same size; white outside the image."""
  height, width = images.shape[1:3]
  wide = jnp.maximum(jnp.abs(crop.scale), 1.0)[:, :, None, None]  # smoothed where it shrinks
  row, column = places(height), places(width)
  empty = jnp.zeros((len(images), height))
  _, y = source(crop, empty, empty + row[None])
  out = jnp.einsum('bij,bjkc->bikc', hats(y, height, wide[:, 1]), images - 1.0)
  x, _ = source(crop, jnp.tile(column, (len(images), height)),
                jnp.tile(jnp.repeat(row, width), (len(images), 1)))
  weight = hats(x, width, wide[:, 0]).reshape(len(images), height, width, width)
  return 1.0 + jnp.einsum('bikl,bilc->bikc', weight, out)


def colour_matrix(angle, saturation):
  """Matrices [B, 3, 3] that turn hues by `angle` [B] radians about the grey axis and multiply
  saturation by `saturation` [B]; greys, white among them, stay."""
  cos, sin = (f(angle)[:, None, None] for f in (jnp.cos, jnp.sin))
  grey = jnp.full((1, 3, 3), 1.0 / 3.0)
  turn = cos * (jnp.eye(3)[None] - grey) + sin * CYCLE[None]
  return grey + saturation[:, None, None] * turn


def recolour(images, matrix, brightness, contrast):
  """images [B, H, W, 3] in [0, 1] with colours by matrix [B, 3, 3], contrast [B] about middle grey
  and brightness [B]."""
  at = lambda v: v[:, None, None, None]
  out = jnp.einsum('bij,bhwj->bhwi', matrix, images)
  return jnp.clip(at(brightness) * (0.5 + at(contrast) * (out - 0.5)), 0.0, 1.0)


def to_grey(images, which):
  """images [B, H, W, 3], greyscale where `which` [B] is true."""
  grey = jnp.sum(images * GREY[None, None, None], -1, keepdims=True)
  return jnp.where(which[:, None, None, None], grey, images)


def outline(images, which, gain=3.0):
  """images [B, H, W, 3] as dark outlines on white where `which` [B] is true."""
  down = images[:, 1:] - images[:, :-1]
  across = images[:, :, 1:] - images[:, :, :-1]
  steep = (jnp.pad(jnp.sum(down**2, -1), ((0, 0), (0, 1), (0, 0)))
           + jnp.pad(jnp.sum(across**2, -1), ((0, 0), (0, 0), (0, 1))))
  lines = jnp.maximum(1.0 - gain * jnp.sqrt(steep), 0.0)[..., None]
  return jnp.where(which[:, None, None, None], lines, images)

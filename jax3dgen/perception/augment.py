"""Changes of a picture that leave its pose: where it lies, and what colours it has.

Axes: B images, H and W pixel rows and columns. Images are float32 in [0, 1] on white; places run
from -1 (the left or upper edge) to 1. Amounts are arguments: whoever calls draws them.
"""

from flax import struct
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.types import Array

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601
CYCLE = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32) / np.sqrt(np.float32(3))


@struct.dataclass
class Crop:
  """Which places of a picture a crop shows: its place p shows y = shift_y + scale_y p_y and
  x = shift_x + scale_x p_x + shear p_y. shift, scale [B, 2] as (x, y), shear [B]."""
  shift: Array
  scale: Array
  shear: Array


def places(size):
  """Centres [size] of `size` equal pixels between -1 and 1."""
  return (2 * np.arange(size, dtype=np.float32) + 1) / size - 1


def source(crop, x, y):
  """Where in the picture a crop's places x, y [B, N] lie: (x, y)."""
  at = lambda v: v[:, None]
  return (at(crop.shift[:, 0]) + at(crop.scale[:, 0]) * x + at(crop.shear) * y,
          at(crop.shift[:, 1]) + at(crop.scale[:, 1]) * y)


def target(crop, x, y):
  """Where in the crop the picture's places x, y [B, N] lie: the inverse of `source`."""
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


def cropped(images, crop):
  """images [B, H, W, C] through crops: the same size, white where the crop reaches beyond."""
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


def recoloured(images, matrix, brightness, contrast):
  """images [B, H, W, 3] with colours through matrix [B, 3, 3], contrast about the middle grey and
  brightness multiplied [B]; in [0, 1]."""
  at = lambda v: v[:, None, None, None]
  out = jnp.einsum('bij,bhwj->bhwi', matrix, images)
  return jnp.clip(at(brightness) * (0.5 + at(contrast) * (out - 0.5)), 0.0, 1.0)


def greyed(images, which):
  """images [B, H, W, 3] without colour where `which` [B] is true."""
  grey = jnp.sum(images * GREY[None, None, None], -1, keepdims=True)
  return jnp.where(which[:, None, None, None], grey, images)


def outlined(images, which, gain=3.0):
  """images [B, H, W, 3] as dark lines on white, where colours change, where `which` [B] is true."""
  down = images[:, 1:] - images[:, :-1]
  across = images[:, :, 1:] - images[:, :, :-1]
  steep = (jnp.pad(jnp.sum(down**2, -1), ((0, 0), (0, 1), (0, 0)))
           + jnp.pad(jnp.sum(across**2, -1), ((0, 0), (0, 0), (0, 1))))
  lines = jnp.maximum(1.0 - gain * jnp.sqrt(steep), 0.0)[..., None]
  return jnp.where(which[:, None, None, None], lines, images)

"""Images as arrays [..., H, W, C] float32 in [0, 1], row 0 at the top."""

import jax
import numpy as np


def resize(image, size):
  """`image` [B, H, W, C] as [B, h, w, C]: bilinear, antialiased where it shrinks."""
  batch, height, width, channels = image.shape
  if (height, width) == tuple(size):
    return image
  return jax.image.resize(image, (batch, *size, channels), 'linear', antialias=True)


def over(image, background):
  """[..., 3] of an image [..., 4], whose last channel is its opacity, on a grey level."""
  opacity = image[..., 3:]
  return image[..., :3] * opacity + background * (1 - opacity)


def to_uint8(image):
  """Host array [..., C] uint8 of an image in [0, 1]."""
  return np.asarray(np.clip(np.asarray(image, np.float32), 0, 1) * 255 + 0.5, np.uint8)


def grid(images, columns):
  """N images [N, H, W, C] as one [rows H, columns W, C], row by row; empty places are white."""
  images = np.asarray(images)
  n, height, width, channels = images.shape
  rows = -(-n // columns)
  blank = np.ones((rows * columns - n, height, width, channels), images.dtype)
  cells = np.concatenate([images, blank]).reshape(rows, columns, height, width, channels)
  return cells.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def enlarge(image, factor):
  """Every pixel of [..., H, W, C] repeated `factor` times each way: no smoothing."""
  return np.repeat(np.repeat(np.asarray(image), factor, -3), factor, -2)


def srgb_to_linear(color):
  """Linear light of sRGB in [0, 1] (IEC 61966-2-1), a host array."""
  color = np.asarray(color)
  return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(color):
  """sRGB of linear light in [0, 1] (IEC 61966-2-1), a host array."""
  color = np.asarray(color)
  high = 1.055 * np.maximum(color, 0.0031308) ** (1 / 2.4) - 0.055
  return np.where(color <= 0.0031308, 12.92 * color, high)

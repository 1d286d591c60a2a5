"""Pictures of objects as a generator takes them: cropped to the object, on black.

The steps are TRELLIS's (Xiang et al. 2025), except for its background removal by a network: of a
picture without transparency only an even background is removed.
"""

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from jax3dgen.core.errors import ConfigError

SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp')  # of the files that are looked for in a folder
SIZE = 518  # pixels per side of TRELLIS's input
OPAQUE = 0.8 * 255  # alpha above which a pixel belongs to the object
MARGIN = 1.2  # side of the crop, in sides of the object
LEAST = 8  # pixels of the larger side of an object
LARGEST = 1024  # pixels of the larger side of a picture whose background is removed
TOLERANCE = 16  # largest difference of a channel, in 0..255, from the colour of the background
SHARE = 0.9  # of the border's pixels that have the colour of an even background
MODES = ('RGB', 'RGBA', 'L', 'LA', 'P', 'PA', '1', 'CMYK', 'YCbCr')  # of 8 bits


def read(path):
  """The PIL image of a file, turned as its camera noted; ConfigError for what is no picture."""
  try:
    with Image.open(path) as file:
      return ImageOps.exif_transpose(file)
  except FileNotFoundError as error:
    raise ConfigError(f'There is no picture {path}.') from error
  except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
    raise ConfigError(f'{path} cannot be read as a picture.') from error


def square(image, size=SIZE, margin=MARGIN):
  """The object of a picture [H, W, 3 or 4] uint8, or of a PIL image: [size, size, 4] float32 in
  [0, 1] with its alpha, centred in a square of `margin` times its larger side.

  The object is where alpha is above 0.8; without transparency, all that is not an even background
  which reaches the border. ConfigError where there is no object, or the background is not even.
  """
  image = rgba(image)
  if np.asarray(image)[..., 3].min() == 255:
    image = without_background(image)
  left, upper, right, lower = bounds(np.asarray(image)[..., 3])
  half = int(margin * max(right - left, lower - upper)) // 2
  x, y = (left + right) / 2, (upper + lower) / 2
  cut = image.crop((x - half, y - half, x + half, y + half))
  return np.asarray(cut.resize((size, size), Image.Resampling.LANCZOS), np.float32) / 255


def crop(image, size=SIZE):
  """`square` on black, [size, size, 3], rounded down to 8 bits as in TRELLIS."""
  image = square(image, size)
  return np.floor(image[..., :3] * image[..., 3:] * 255).astype(np.float32) / np.float32(255)


def rgba(image):
  """A PIL image of the mode RGBA; ConfigError for what is neither such nor an array of 8 bits."""
  if not isinstance(image, Image.Image):
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4):
      raise ConfigError('A picture is an array [H, W, 3 or 4] uint8, not '
                        f'{list(image.shape)} {image.dtype}.')
    if image.size == 0:
      raise ConfigError(f'A picture of {image.shape[1]} x {image.shape[0]} pixels is empty.')
    image = Image.fromarray(image)
  if image.mode not in MODES:
    raise ConfigError(f'A picture has 8 bits per channel; one of the mode {image.mode} cannot be '
                      'used.')
  return image.convert('RGBA')


def bounds(alpha):
  """(left, upper, right, lower), the first and last columns and rows of an object of alpha [H, W].
  """
  rows, columns = np.nonzero(alpha > OPAQUE)
  if len(rows) == 0:
    raise ConfigError('The picture shows no object: its alpha is nowhere above 0.8.')
  box = columns.min(), rows.min(), columns.max(), rows.max()
  if max(box[2] - box[0], box[3] - box[1]) + 1 < LEAST:
    raise ConfigError(f'The object in the picture is only {box[2] - box[0] + 1} x '
                      f'{box[3] - box[1] + 1} pixels; at least {LEAST} are needed.')
  return box


def without_background(image):
  """An opaque RGBA image with alpha 0 where an even background reaches the border."""
  shrink = LARGEST / max(image.size)
  if shrink < 1:
    image = image.resize([max(1, int(n * shrink)) for n in image.size], Image.Resampling.LANCZOS)
  pixels = np.array(image)
  border = np.ones(pixels.shape[:2], bool)
  border[1:-1, 1:-1] = False
  color = np.median(pixels[border, :3], 0)
  near = np.abs(pixels[..., :3] - color).max(-1) <= TOLERANCE
  if near[border].mean() < SHARE:
    raise ConfigError('The picture has no even background that could be removed; give it an alpha '
                      'channel that is 0 outside the object.')
  regions, _ = ndimage.label(near)
  background = np.isin(regions, np.unique(regions[border & near]))
  if background.all():
    raise ConfigError('The picture shows no object: all of it has the colour of its background.')
  pixels[background, 3] = 0
  return Image.fromarray(pixels)

"""Pictures of objects: the crop against Pillow's steps one by one, backgrounds, and faults."""

import numpy as np
from PIL import Image
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.generator import pictures


def picture(height=60, width=80, box=(20, 10, 50, 50), alpha=True):
  """Noise with an object in columns and rows `box` = (left, upper, right, lower)."""
  image = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
  left, upper, right, lower = box
  image[..., 3] = 0
  image[upper:lower, left:right, 3] = 255
  return image if alpha else image[..., :3]


def on(color, box=(20, 10, 50, 50), height=60, width=80):
  """A red object on an even background, without alpha."""
  image = np.tile(np.uint8(color), (height, width, 1))
  left, upper, right, lower = box
  image[upper:lower, left:right] = (200, 10, 20)
  return image


@pytest.mark.parametrize('box', [(20, 10, 50, 50), (0, 0, 80, 59), (70, 5, 80, 60)])
def test_crop_step_by_step(box):
  image = picture(box=box)
  left, upper, right, lower = box[0], box[1], box[2] - 1, box[3] - 1
  half = int(1.2 * max(right - left, lower - upper)) // 2
  # Rounded half to even, as Pillow does; beyond the picture all is transparent.
  x, y = (round(center - half) for center in ((left + right) / 2, (upper + lower) / 2))
  side = round((left + right) / 2 + half) - x
  padded = np.pad(image, ((100, 100), (100, 100), (0, 0)))[y + 100:y + 100 + side,
                                                           x + 100:x + 100 + side]
  resized = np.float64(Image.fromarray(padded).resize((32, 32), Image.Resampling.LANCZOS)) / 255
  result = pictures.crop(image, 32)
  assert result.shape == (32, 32, 3) and result.dtype == np.float32
  expected = resized[..., :3] * resized[..., 3:]
  assert (result <= expected + 1e-6).all() and np.abs(result - expected).max() < 1.01 / 255


def test_crop_centres_the_object():
  result = pictures.crop(picture(), 518)
  rows, columns = np.nonzero(result.max(-1) > 0.05)
  assert result.shape == (518, 518, 3)
  for low, high, share in ((rows.min(), rows.max(), 1 / 1.2), (columns.min(), columns.max(), .625)):
    assert abs(low + high - 517) < 24  # half a pixel of the picture is 11 of these
    assert abs((high - low) / 518 - share) < 0.06
  assert result[0].max() == 0 and result[:, -1].max() == 0


def test_kinds_of_images_agree():
  image = picture()
  expected = pictures.crop(image, 32)
  np.testing.assert_array_equal(pictures.crop(Image.fromarray(image), 32), expected)
  gray = Image.fromarray(image).convert('LA')
  assert np.ptp(pictures.crop(gray, 32), -1).max() == 0


@pytest.mark.parametrize('color', [(255, 255, 255), (0, 0, 0), (90, 120, 60)])
def test_even_background_is_removed(color):
  image = on(color)
  cut = np.dstack([image, 255 * (image != np.uint8(color)).any(-1)]).astype(np.uint8)
  noisy = np.clip(image + np.random.default_rng(0).integers(-5, 6, image.shape), 0, 255)
  noisy[28:32, 28:32] = color  # enclosed by the object, so part of it
  result = pictures.crop(noisy.astype(np.uint8), 40)
  expected = pictures.crop(cut, 40)
  enclosed = np.abs(result - expected).max(-1) > 0.1
  assert 0 < enclosed.sum() < 90 or color == (0, 0, 0)
  np.testing.assert_allclose(result[~enclosed], expected[~enclosed], atol=0.1)
  assert result[0].max() == 0


def test_large_pictures_are_reduced_first():
  image = np.kron(on((255, 255, 255)), np.ones((30, 30, 1), np.uint8))  # 2400 x 1800 pixels
  result = pictures.crop(image, 32)
  assert np.abs(result - pictures.crop(on((255, 255, 255)), 32)).mean() < 0.02


def test_opaque_alpha_is_no_alpha():
  image = on((255, 255, 255))
  opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
  np.testing.assert_array_equal(pictures.crop(opaque, 32), pictures.crop(image, 32))


@pytest.mark.parametrize('image, message', [
    (picture() * np.uint8([1, 1, 1, 0]), 'shows no object: its alpha'),
    (on((9, 9, 9), (0, 0, 0, 0)), 'shows no object: all of it'),
    (picture(alpha=False), 'no even background'),
    (picture(box=(20, 10, 24, 13)), 'only 4 x 3 pixels'),
    (np.zeros((1, 1, 4), np.uint8), 'shows no object'),
    (np.zeros((0, 5, 3), np.uint8), 'is empty'),
    (np.zeros((8, 8), np.uint8), r'not \[8, 8\] uint8'),
    (np.zeros((8, 8, 3), np.float32), 'float32'),
    (Image.fromarray(np.zeros((8, 8), np.uint16)), 'mode I;16')])
def test_faults_are_named(image, message):
  with pytest.raises(ConfigError, match=message):
    pictures.crop(image)


def test_files(tmp_path):
  image = Image.fromarray(picture())
  image.save(tmp_path / 'a.png')
  np.testing.assert_array_equal(np.asarray(pictures.read(tmp_path / 'a.png')), picture())
  turned = Image.fromarray(on((255, 255, 255)))
  exif = Image.Exif()
  exif[0x0112] = 6  # the camera was turned by 90 degrees
  turned.save(tmp_path / 'b.jpg', exif=exif)
  assert pictures.read(tmp_path / 'b.jpg').size == (60, 80)
  (tmp_path / 'c.png').write_text('no picture')
  (tmp_path / 'd.png').write_bytes((tmp_path / 'a.png').read_bytes()[:-2000])
  for name in ('c.png', 'd.png', '.'):
    with pytest.raises(ConfigError, match='cannot be read as a picture'):
      pictures.read(tmp_path / name)
  with pytest.raises(ConfigError, match='There is no picture'):
    pictures.read(tmp_path / 'e.png')

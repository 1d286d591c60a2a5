import jax.numpy as jnp
import numpy as np
from PIL import Image

from jax3dgen.core import image


def test_resize_agrees_with_pillow_on_a_smooth_picture():
  y, x = np.mgrid[0:48, 0:48] / 48
  picture = np.stack([x, y, x * y], -1).astype(np.float32)
  ours = image.resize(jnp.asarray(picture)[None], (16, 16))[0]
  for c in range(3):
    theirs = Image.fromarray(picture[..., c]).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(ours[..., c], np.asarray(theirs), atol=2e-3)


def test_resize_to_the_same_size_is_the_identity():
  picture = jnp.ones((1, 4, 6, 3))
  assert image.resize(picture, (4, 6)) is picture


def test_grid_places_images_row_by_row_on_white():
  images = np.stack([np.full((2, 3, 1), v, np.float32) for v in (0.1, 0.2, 0.3)])
  sheet = image.grid(images, 2)
  assert sheet.shape == (4, 6, 1)
  np.testing.assert_allclose(sheet[::2, ::3, 0], [[0.1, 0.2], [0.3, 1.0]])


def test_enlarge_repeats_pixels():
  picture = np.arange(4.0).reshape(2, 2, 1)
  np.testing.assert_array_equal(image.enlarge(picture, 2)[..., 0], np.kron(picture[..., 0],
                                                                          np.ones((2, 2))))


def test_over_a_background():
  """Against Pillow, whose arithmetic is of 8 bits."""
  rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
  for grey in (0, 128, 255):
    page = Image.new('RGBA', (7, 5), (grey, grey, grey, 255))
    page.alpha_composite(Image.fromarray(rgba))
    np.testing.assert_allclose(image.over(rgba / np.float32(255), grey / 255),
                               np.asarray(page)[..., :3] / 255, atol=1.01 / 255)


def test_uint8_rounds_and_clips():
  np.testing.assert_array_equal(image.to_uint8(np.array([[-1.0, 0.5, 2.0]])), [[0, 128, 255]])


def test_srgb_round_trip_and_known_values():
  values = jnp.linspace(0, 1, 101)
  np.testing.assert_allclose(image.linear_to_srgb(image.srgb_to_linear(values)), values, atol=1e-5)
  np.testing.assert_allclose(image.srgb_to_linear(jnp.array([0.02, 0.5])), [0.02 / 12.92, 0.214041],
                             rtol=1e-5)

"""The shipped features: their seal, their shapes, and that a gradient reaches the picture."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.errors import WeightError
from jax3dgen.formats import features
from jax3dgen.perception import augment


@pytest.fixture(scope='module')
def shipped():
  return features.load()


def test_shapes_and_gradient(shipped):
  apply, params = shipped
  images = jax.random.uniform(jax.random.key(0), (2, 64, 64, 3))

  @jax.jit
  def both(params, images):
    out, pull = jax.vjp(lambda x: apply(params, x), images)
    return out, pull(jax.tree.map(jnp.ones_like, out))[0]
  (token, patches), slope = both(params, images)
  assert token.shape == (2, apply.net.width)
  assert patches.shape == (2, 8, 8, apply.net.width)
  assert slope.shape == images.shape and np.isfinite(slope).all()
  assert (np.abs(slope).max((1, 2, 3)) > 0).all()


def test_larger_pictures_are_resized(shipped):
  small = jax.random.uniform(jax.random.key(0), (1, 32, 32, 3))
  large = jnp.repeat(jnp.repeat(small, 2, 1), 2, 2)
  apply, params = shipped
  of = jax.jit(apply)
  smooth = jax.image.resize(large, small.shape, 'linear', antialias=True)
  np.testing.assert_allclose(of(params, large).cls, of(params, smooth).cls, atol=1e-4)


def test_the_folder_is_small_and_whole():
  folder = features.folder()
  assert sum(file.stat().st_size for file in folder.iterdir()) < 2.2e6
  for name in ('card.md', 'curve.csv', 'curve.svg', 'config.json', 'sha256'):
    assert (folder / name).stat().st_size > 0


def test_damaged_weights_are_refused(tmp_path):
  folder = tmp_path / 'features'
  shutil.copytree(features.folder(), folder)
  data = bytearray((folder / 'weights.safetensors').read_bytes())
  data[-1] ^= 1
  (folder / 'weights.safetensors').write_bytes(data)
  with pytest.raises(WeightError, match='damaged'):
    features.load(folder)
  with pytest.raises(WeightError, match='holds no weights'):
    features.load(tmp_path)


def test_a_config_without_sizes_is_refused(tmp_path):
  folder = tmp_path / 'features'
  shutil.copytree(features.folder(), folder)
  (folder / 'config.json').write_text(json.dumps({'net': {'width': 'wide'}}))
  from jax3dgen.core import weights
  weights.seal(folder, ('weights.safetensors', 'config.json'))
  with pytest.raises(WeightError, match='sizes'):
    features.load(folder)


def crop(shift=(0.0, 0.0), scale=(1.0, 1.0), shear=0.0):
  row = lambda x: jnp.asarray([x], jnp.float32)
  return augment.Crop(row(shift), row(scale), row(shear))


def test_a_whole_crop_is_the_picture_and_a_shifted_one_shows_white():
  picture = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
  np.testing.assert_allclose(augment.apply_crop(picture, crop()), picture, atol=1e-5)
  moved = augment.apply_crop(picture, crop(shift=(4 / 16, 0.0)))  # 4 of 32 pixels to the right
  np.testing.assert_allclose(moved[:, :, :-4], picture[:, :, 4:], atol=1e-5)
  np.testing.assert_allclose(moved[:, :, -4:], 1.0, atol=1e-5)


def test_a_sheared_crop_is_interpolated_at_its_source():
  picture = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
  c = crop((0.1, -0.05), (0.8, 0.9), 0.2)
  got = np.asarray(augment.apply_crop(picture, c))[0, :, :, 0]
  place = augment.places(32)
  for i, j in ((10, 12), (20, 5), (16, 24)):
    x = 0.1 + 0.8 * place[j] + 0.2 * place[i]
    y = -0.05 + 0.9 * place[i]
    u, v = 16 * (x + 1) - 0.5, 16 * (y + 1) - 0.5
    k, m = int(np.floor(v)), int(np.floor(u))
    a, b = v - k, u - m
    p = picture[0, :, :, 0]
    want = ((1 - a) * ((1 - b) * p[k, m] + b * p[k, m + 1])
            + a * ((1 - b) * p[k + 1, m] + b * p[k + 1, m + 1]))
    assert got[i, j] == pytest.approx(want, abs=1e-5)


def test_target_inverts_source():
  x, y = (jax.random.uniform(jax.random.key(i), (1, 5)) for i in range(2))
  c = crop((0.1, -0.2), (0.7, 1.2), -0.1)
  back = augment.target(c, *augment.source(c, x, y))
  np.testing.assert_allclose(back, (x, y), atol=1e-6)


def test_colours_turn_and_greys_stay():
  turn = augment.colour_matrix(jnp.array([2 * np.pi / 3, 0.0]), jnp.array([1.0, 0.0]))
  np.testing.assert_allclose(turn[0], np.eye(3)[[2, 0, 1]], atol=1e-6)  # red to green to blue
  np.testing.assert_allclose(turn[1], np.full((3, 3), 1 / 3), atol=1e-6)
  np.testing.assert_allclose(turn @ jnp.ones(3), 1.0, atol=1e-6)


def test_outlines_are_dark_where_colours_change():
  picture = np.ones((2, 8, 8, 3), np.float32)
  picture[:, :, 4:] = 0.3
  lines, same = augment.outline(jnp.asarray(picture), jnp.array([True, False]))
  np.testing.assert_allclose(lines[:, 3], 0.0)
  np.testing.assert_allclose(np.delete(lines, 3, 1), 1.0)
  np.testing.assert_array_equal(same, picture[1])

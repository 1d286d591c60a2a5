"""Pictures from known cameras: their folder, and the penalty against renders of a ball."""

import json

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from jax3dgen.core import camera as cameras
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.distill import views
from jax3dgen.scene import base, render

SIZE = 16
ANGLES = (0.0, 90.0, 20.0), (0.0, 10.0, 80.0)  # azimuths and elevations in degrees
BALL = base.Field(None, lambda params, xyz, frac: base.Sample(
    50.0 * (jnp.linalg.norm(xyz, axis=-1) < 0.5), jnp.broadcast_to(params['rgb'], xyz.shape)))
OPTIONS = render.RenderOptions(n_samples=64)
CFG = ConfigDict({'views': {'color': 10.0, 'opacity': 2.0}})


def camera():
  return cameras.orbit(*(np.deg2rad(x) for x in ANGLES), 2.9, np.deg2rad(40.0), orthographic=True)


def renders(size=SIZE):
  rays = cameras.rays(camera(), size, size)
  return render.render_rays(None, BALL.query, {'rgb': jnp.array([0.9, 0.2, 0.1])}, rays, OPTIONS)


def pictures(size=SIZE):
  """Renders [3, S, S, 3] of the ball on white."""
  out = renders(size)
  return np.asarray(out.rgb + 1 - out.opacity[..., None])


@pytest.fixture
def folder(tmp_path):
  views.write(tmp_path, pictures(), 'abc', *ANGLES, 2.9, 40.0, True)
  return tmp_path


def test_a_folder_is_read_as_it_was_written(folder):
  read = views.read(folder)
  white = read.rgb * read.alpha[..., None] + 1 - read.alpha[..., None]
  np.testing.assert_allclose(white, pictures(), atol=0.51 / 255)
  true = camera()
  np.testing.assert_allclose(read.camera.c2w, true.c2w, atol=1e-6)
  assert read.camera.orthographic


def test_the_background_is_removed_from_the_pixels_at_the_border(tmp_path):
  """Opacity and colour of the ball's outermost pixels are those of renders of 4 x 4 rays."""
  pixels = lambda x: x.reshape(3, SIZE, 4, SIZE, 4, -1).mean((2, 4))
  views.write(tmp_path, pixels(pictures(4 * SIZE)), 'abc', *ANGLES, 2.9, 40.0, True)
  read = views.read(tmp_path)
  true = pixels(np.asarray(renders(4 * SIZE).opacity))[..., 0]
  edge = (true > 0.2) & (true < 0.95)
  assert edge.sum() > 20
  assert np.abs(read.alpha - true)[edge].max() < 0.05
  assert np.abs(read.rgb - np.array([[[0.9, 0.2, 0.1]]]))[edge].max() < 0.05
  np.testing.assert_array_equal(read.alpha[true == 0], 0)


def test_a_detail_at_the_border_keeps_its_hue():
  rgba = np.ones((9, 9, 4), np.float32)
  rgba[..., 3] = 0
  rgba[2:7, 2:7] = (0.8, 0.1, 0.1, 1)
  rgba[4, 7] = (0.9, 0.5, 0.1, 1)  # a beak of one pixel
  rgb, alpha = np.split(views.unmixed(rgba)[4, 7], [3])
  np.testing.assert_allclose(rgb * alpha + 1 - alpha, rgba[4, 7, :3], atol=1e-6)
  assert alpha > 0.7 and rgb[1] - rgb[2] > 0.3
  flat = rgba[2:5, 2:5]
  np.testing.assert_array_equal(views.unmixed(flat), flat)  # no background


def penalty(read, rgb, key=0):
  return views.penalty(CFG, OPTIONS, BALL, {'rgb': jnp.array(rgb)}, read, jax.random.key(key), 1.0,
                       0)


def test_the_penalty_is_the_weighted_square_error_of_one_picture(folder):
  """Where the opacities are equal, the colour behind both makes no difference."""
  read, color = views.read(folder), np.array([0.9, 0.2, 0.1])
  value, errors = penalty(read, color)
  assert value < 0.02 and errors['views_opacity'] < 2e-3
  opacity, shade = np.asarray(renders().opacity), np.array([1.0, 0.7, 0.4])  # of the three views
  shades = np.broadcast_to(shade[:, None, None, None] * color, (*opacity.shape, 3))
  read = read.replace(rgb=shades, alpha=opacity)
  expected = [np.square(o[..., None] * (1 - s) * color[None, None]).mean()
              for o, s in zip(opacity, shade, strict=True)]
  errors = [float(penalty(read, color, key)[1]['views_color']) for key in range(12)]
  nearest = np.abs(np.array(errors)[:, None] - np.array(expected)[None])
  assert set(nearest.argmin(1)) == {0, 1, 2} and nearest.min(1).max() < 2e-3
  value, errors = penalty(read, (0.1, 0.8, 0.1))
  np.testing.assert_allclose(value, 10 * errors['views_color'] + 2 * errors['views_opacity'],
                             rtol=1e-5)


def test_the_gradient_leads_to_the_colour_of_the_pictures(folder):
  read = views.read(folder)
  rgb = jnp.array([0.1, 0.8, 0.1])
  slope = jax.jit(jax.grad(lambda rgb, key: views.penalty(
      CFG, OPTIONS, BALL, {'rgb': rgb}, read, key, 1.0, 0)[0]))
  for step in range(30):
    rgb = rgb - 0.3 * slope(rgb, jax.random.key(step))
  np.testing.assert_allclose(rgb, [0.9, 0.2, 0.1], atol=0.05)


def change(folder, **fields):
  rows = json.loads((folder / 'cameras.json').read_text())
  rows[1] |= fields
  (folder / 'cameras.json').write_text(json.dumps(rows))


@pytest.mark.parametrize('spoil, words', [
    (lambda f: (f / 'cameras.json').unlink(), 'has no cameras.json'),
    (lambda f: (f / 'cameras.json').write_text('[{]'), 'is not a list of objects'),
    (lambda f: (f / 'cameras.json').write_text('[]'), 'names no picture'),
    (lambda f: change(f, distance='far'), 'is not a list of objects'),
    (lambda f: change(f, orthographic=False), 'not all orthographic'),
    (lambda f: change(f, file='z.png'), 'z.png'),
    (lambda f: views.turntable.write_png(f / 'b.png', pictures()[0][1:]), 'not square and of one')])
def test_damaged_folders_are_one_sentence(folder, spoil, words):
  spoil(folder)
  with pytest.raises(ConfigError, match=words):
    views.read(folder)

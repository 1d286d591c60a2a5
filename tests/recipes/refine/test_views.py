"""Views of surfaces and the colours of an asset, against the rasteriser of the host."""

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from configs import prolificdreamer
from jax3dgen.core import camera as cameras
from jax3dgen.core.types import Mesh
from jax3dgen.recipes.refine import config as settings
from jax3dgen.recipes.refine import texturing, views
from jax3dgen.scene import base, raster, zbuffer

SIZE = 24


@pytest.fixture(scope='module')
def ball():
  mesh = trimesh.creation.icosphere(2, 0.6)
  return Mesh(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32))


def query(params, xyz, frac=1.0, key=None):
  """Colours that are the place."""
  del frac, key
  return base.Sample(xyz[..., 0], params * (0.5 * xyz + 0.5))


FIELD = base.Field(lambda key: jnp.ones(()), query)


@pytest.mark.slow
def test_a_view_is_that_of_the_host_but_for_its_outline(ball):
  camera = cameras.orbit([0.3, 2.0], [0.2, -0.1], 2.9, 0.7)
  view = views.surface_view(jnp.asarray(ball.vertices), jnp.asarray(ball.faces),
                   jnp.ones(len(ball.faces), bool), camera, SIZE,
                   raster.capacity(len(ball.faces), 2, SIZE))
  image = views.paint(view, query(1.0, view.points).rgb, jnp.ones((2, SIZE, SIZE, 3)))
  host = zbuffer.render(ball.replace(colors=0.5 * ball.vertices + 0.5), camera, SIZE, (1.0,) * 3)
  assert int(view.overflow) == 0
  inner = np.asarray(view.mask) > 0
  inner &= np.roll(inner, 1, 1) & np.roll(inner, -1, 1) & np.roll(inner, 1, 2) & np.roll(
      inner, -1, 2)
  assert inner.sum() > 100
  np.testing.assert_allclose(image[inner], host[inner], atol=2e-3)
  np.testing.assert_allclose(image.mean((1, 2)), zbuffer.render(
      ball.replace(colors=0.5 * ball.vertices + 0.5), camera, SIZE, (1.0,) * 3, samples=8).mean(
          (1, 2)), atol=4e-3)
  outward = (np.asarray(view.normals) * np.asarray(view.points)).sum(-1)[inner]
  np.testing.assert_allclose(outward, 0.6, atol=0.02)


def test_an_asset_has_the_colors_of_the_field_at_its_surface(ball):
  cfg = settings.of_stage(prolificdreamer.get_config('tiny'), 'texture')
  asset = texturing.asset(cfg, FIELD, jnp.ones(()), ball)
  np.testing.assert_allclose(asset.surface.colors, 0.5 * ball.vertices + 0.5, atol=1e-6)
  np.testing.assert_allclose(asset.color(ball.vertices[:7], None), 0.5 * ball.vertices[:7] + 0.5,
                             atol=1e-6)
  camera = cameras.orbit([0.0, 1.0], 0.1, 2.9, 0.7)
  images = asset.draw(SIZE)(camera)
  assert images.shape == (2, SIZE, SIZE, 3) and (images[:, 0, 0] == 1).all()
  longest = np.linalg.norm(ball.vertices[ball.faces[:, 0]] - ball.vertices[ball.faces[:, 1]],
                           axis=-1).max()
  assert asset.reach >= longest - 1e-6


def test_the_watchdog_names_what_to_change():
  reason = views.watchdog('geometry')
  assert reason(3, {'overflow': 0.0, 'opacity': 0.2}) is None
  assert 'mesh.slack' in reason(3, {'overflow': 2.0, 'opacity': 0.2})
  assert 'no view' in reason(3, {'overflow': 0.0, 'opacity': 0.0})

"""The camera of a picture by its silhouette, and the colours that the mesh takes from it."""

import numpy as np
import pytest

from jax3dgen.core import camera as cameras
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Mesh
from jax3dgen.data import figurines
from jax3dgen.scene import projection, zbuffer

DISTANCE, FOVY, SIZE = 2.95, np.deg2rad(40.0), 128
AZIMUTHS, ELEVATIONS = np.deg2rad([-40, -20, 0, 20, 40]), np.deg2rad([0, 15, 30])


def camera(azimuth_deg, elevation_deg, fovy=FOVY):
  return cameras.orbit(np.deg2rad(np.float32([azimuth_deg])), np.deg2rad(
      np.float32([elevation_deg])), DISTANCE, fovy)


@pytest.fixture(scope='module')
def robot():
  return figurines.mesh('robot', 'purple', resolution=48)


def picture(mesh, view):
  mask = np.isfinite(zbuffer.depths(mesh, view, SIZE))[0]
  return zbuffer.render(mesh, view, SIZE, (1.0, 1.0, 1.0))[0], mask


@pytest.mark.parametrize('azimuth, elevation', [(20, 15), (-40, 0), (0, 30)])
def test_the_camera_of_the_picture_is_chosen(robot, azimuth, elevation):
  _, mask = picture(robot, camera(azimuth, elevation))
  fit = projection.fit(robot, mask, AZIMUTHS, ELEVATIONS, DISTANCE, FOVY)
  np.testing.assert_allclose(np.rad2deg(fit.camera.azimuth), [azimuth], atol=1e-3)
  np.testing.assert_allclose(np.rad2deg(fit.camera.elevation), [elevation], atol=1e-3)
  assert fit.overlap > 0.93


def test_a_moved_and_scaled_picture_has_the_same_camera(robot):
  """A mask of half the size in a corner of a larger picture."""
  _, mask = picture(robot, camera(20, 15))
  moved = np.zeros((200, 160), bool)
  moved[3:67, 90:154] = mask[::2, ::2]
  fit = projection.fit(robot, moved, AZIMUTHS, ELEVATIONS, DISTANCE, FOVY)
  np.testing.assert_allclose(np.rad2deg(fit.camera.azimuth), [20], atol=1e-3)
  np.testing.assert_allclose([fit.scale, *fit.shift], [64, 90, 3], atol=2.0)
  assert fit.overlap > 0.9


def test_vertices_that_the_picture_shows_get_its_colours(robot):
  view = camera(20, 15)
  image, mask = picture(robot, view)
  fit = projection.fit(robot, mask, AZIMUTHS, ELEVATIONS, DISTANCE, FOVY)
  got = projection.colored(robot.replace(colors=None), image, mask, fit)
  ray = robot.vertices - np.asarray(view.c2w[0, :3, 3])[None]
  ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
  place, depth = zbuffer.project(robot.vertices, view, 0, SIZE)
  front = zbuffer.depths(robot, view, SIZE)[0][place[:, 1].astype(int), place[:, 0].astype(int)]
  visible = np.abs(depth - front) < 0.01
  error = np.abs(got.colors - robot.colors).max(-1)
  assert visible.sum() > 500 and np.median(error[visible]) < 0.02
  assert (error[visible] < 0.15).mean() > 0.9  # borders of colours are blurred
  assert np.median(error[~visible]) < 0.3  # most of the robot has one colour


def test_hidden_vertices_have_the_colours_of_near_ones():
  """A square of which the picture shows the left half, then the whole."""
  x = np.linspace(-0.5, 0.5, 9)
  grid = np.stack(np.meshgrid([0.0], x, x, indexing='ij'), -1).reshape(-1, 3).astype(np.float32)
  corner = np.array([[i, j] for i in range(8) for j in range(8)]) @ [9, 1]
  faces = np.concatenate([corner[:, None] + [[0, 9, 1]], corner[:, None] + [[1, 9, 10]]])
  mesh = Mesh(grid, faces.astype(np.int32))
  view = cameras.orbit(np.zeros(1, np.float32), np.zeros(1, np.float32), DISTANCE, FOVY)
  image, mask = np.zeros((SIZE, SIZE, 3)), np.ones((SIZE, SIZE), bool)
  image[:, :SIZE // 2], image[:, SIZE // 2:] = (0.8, 0.1, 0.2), (0.1, 0.6, 0.3)
  mask[:, SIZE // 2 - 6:] = False
  fit = projection.Fit(view, float(SIZE), np.zeros(2), 1.0)
  colors = projection.colored(mesh, image, mask, fit).colors
  np.testing.assert_allclose(colors, np.tile([0.8, 0.1, 0.2], (len(grid), 1)), atol=1e-6)
  mask[:] = True
  colors = projection.colored(mesh, image, mask, fit).colors
  np.testing.assert_allclose(colors[grid[:, 1] > 0.1] - [[0.1, 0.6, 0.3]], 0.0, atol=1e-6)


def test_empty_masks_are_refused(robot):
  with pytest.raises(ConfigError, match='empty'):
    projection.fit(robot, np.zeros((8, 8), bool), AZIMUTHS, ELEVATIONS, DISTANCE, FOVY)
  view = camera(0, 0)
  with pytest.raises(ConfigError, match='no part'):
    projection.colored(robot, np.zeros((8, 8, 3)), np.zeros((8, 8), bool),
                       projection.Fit(view, 8.0, np.zeros(2), 1.0))

"""The host z-buffer against rays through every pixel, one triangle at a time."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import camera as cameras
from jax3dgen.core.types import Mesh
from jax3dgen.scene import zbuffer

SIZE = 24


def soup(count=14, seed=0):
  """Random triangles in the unit ball, each with a colour at each of its corners."""
  rng = np.random.default_rng(seed)
  center = rng.uniform(-0.5, 0.5, (count, 1, 3))
  vertices = (center + rng.uniform(-0.4, 0.4, (count, 3, 3))).reshape(-1, 3)
  return Mesh(vertices.astype(np.float32), np.arange(3 * count).reshape(-1, 3),
              rng.random((3 * count, 3)).astype(np.float32))


def traced(mesh, camera, size, background):
  """The same picture by Moeller-Trumbore intersection of all rays with all triangles."""
  rays = cameras.rays(camera, size, size)
  origin, direction = (np.asarray(x, np.float64).reshape(-1, 3)
                       for x in (rays.origin, rays.direction))
  nearest = np.full(len(origin), np.inf)
  out = np.tile(np.asarray(background, np.float64), (len(origin), 1))
  for face in mesh.faces:
    a, b, c = mesh.vertices[face].astype(np.float64)
    across = np.cross(direction, c - a)
    det = across @ (b - a)
    u = ((origin - a) * across).sum(-1) / det
    turned = np.cross(origin - a, b - a)
    v = (direction * turned).sum(-1) / det
    t = turned @ (c - a) / det
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < nearest)
    nearest[hit] = t[hit]
    weight = np.stack([1 - u - v, u, v], -1)
    out[hit] = weight[hit] @ mesh.colors[face]
  return out.reshape(size, size, 3)


@pytest.mark.parametrize('orthographic', [False, True])
def test_pictures_are_those_of_rays(orthographic):
  mesh = soup()
  camera = cameras.orbit(jnp.array([0.4, 2.5]), jnp.array([0.3, -0.2]), 2.2, 0.8, orthographic)
  got = zbuffer.render(mesh, camera, SIZE, (0.2, 0.4, 0.9))
  assert got.shape == (2, SIZE, SIZE, 3) and got.dtype == np.float32
  for i in range(2):
    one = cameras.orbit(camera.azimuth[i], camera.elevation[i], 2.2, 0.8, orthographic)
    want = traced(mesh, one, SIZE, (0.2, 0.4, 0.9))
    assert (want != want[0, 0]).any(-1).mean() > 0.15  # there is something to see
    same = np.abs(got[i] - want).max(-1) < 1e-3
    assert same.mean() > 0.995  # a ray through an edge may go either way


def test_samples_are_averaged_and_batches_are_alike(monkeypatch):
  mesh, camera = soup(), cameras.ring(1, 0.2, 2.5, 0.7)
  fine = zbuffer.render(mesh, camera, 3 * SIZE)
  got = zbuffer.render(mesh, camera, SIZE, samples=3)
  np.testing.assert_allclose(got, fine.reshape(1, SIZE, 3, SIZE, 3, 3).mean((2, 4)), atol=1e-6)
  monkeypatch.setattr(zbuffer, 'SPAN', 64)
  np.testing.assert_array_equal(zbuffer.render(mesh, camera, SIZE, samples=3), got)


def test_without_colours_it_is_white_and_nothing_is_background():
  square = Mesh(np.float32([[0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1]]),
                np.array([[0, 1, 2], [0, 2, 3]]))
  half = np.arctan(1 / 4)  # at distance 2 the picture spans 1 unit: the square fills it
  picture = zbuffer.render(square, cameras.ring(2, 0.0, 2.0, 2 * half), 16, (1, 0, 0))
  np.testing.assert_array_equal(picture[0], 1.0)
  away = Mesh(square.vertices + np.float32([9, 0, 0]), square.faces)  # behind the camera
  np.testing.assert_array_equal(zbuffer.render(away, cameras.ring(1, 0.0, 2.0, 0.5), 16, (1, 0, 0)),
                                np.broadcast_to(np.float32([1, 0, 0]), (1, 16, 16, 3)))

"""Anti-aliased silhouettes against exact areas and central differences of supersampled pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jax3dgen.core import camera as cameras
from jax3dgen.core.types import Mesh
from jax3dgen.scene import connectivity, raster, silhouette, zbuffer

SIZE = 48
CAPACITY = raster.Capacity(30_000, 8000, 4000)
ROW, COLUMN = np.mgrid[:SIZE, :SIZE].astype(np.float32) + 0.5
PATTERN = np.sin(COLUMN / 5) + np.cos(ROW / 6 + 1)  # what the gradients are tested on


@jax.jit
def mask(vertices, faces, camera):
  """(anti-aliased mask [B, H, W], the Silhouette)."""
  shape = raster.project(vertices, faces, camera, SIZE)
  picture = raster.rasterize(shape, SIZE, CAPACITY)
  twin = connectivity.twins(faces, jnp.ones(len(faces), bool))
  edges = silhouette.locate(shape, picture, twin, CAPACITY)
  return silhouette.antialias(picture.mask[..., None], edges)[..., 0], edges


@jax.jit
@jax.grad
def gradient(vertices, faces, camera):
  return jnp.sum(mask(vertices, faces, camera)[0] * PATTERN[None])


def supersampled(vertices, faces, camera, samples=8):
  """Share of the samples^2 rays of each pixel that hit the mesh."""
  depth = zbuffer.depths(Mesh(np.asarray(vertices), faces), camera, SIZE * samples)
  return np.isfinite(depth).reshape(-1, SIZE, samples, SIZE, samples).mean((2, 4))


def padded(vertices, faces):
  """Vertices [2562, 3] and faces [5120, 3], so that few programs are compiled."""
  return (np.pad(vertices, ((0, 2562 - len(vertices)), (0, 0))).astype(np.float32),
          np.pad(faces, ((0, 5120 - len(faces)), (0, 0))).astype(np.int32))


def egg(subdivisions):
  ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.8)
  return padded(ball.vertices * [1, 0.8, 0.6] + [0.1, 0.05, 0], ball.faces)


def lamp():
  """A ring before a ball: inner silhouettes, where one part hides another."""
  ring = trimesh.creation.torus(0.6, 0.2, major_sections=60, minor_sections=30)
  ball = trimesh.creation.icosphere(subdivisions=3, radius=0.3)
  both = trimesh.util.concatenate([ring, ball])
  return padded(both.vertices, both.faces)


@pytest.mark.parametrize('shape, orthographic', [
    (lambda: egg(2), False), (lambda: egg(4), True), (lamp, False)],
    ids=['large faces', 'faces within a pixel', 'hidden parts'])
def test_gradients_are_those_of_differences(shape, orthographic):
  vertices, faces = shape()
  camera = cameras.orbit(jnp.array([0.3, 1.9]), 0.35, 2.5, 0.8, orthographic)
  moves = {'scale': vertices, 'x': np.float32([1, 0, 0]), 'y': np.float32([0, 1, 0]),
           'z': np.float32([0, 0, 1])}
  picture, edges = mask(vertices, faces, camera)
  assert edges.overflow == 0 and 0 <= picture.min() and picture.max() < 1.001
  exact = supersampled(vertices, faces, camera)
  blurred = np.sqrt(np.mean((np.asarray(picture) - exact)**2))
  assert blurred < 0.3 * np.sqrt(np.mean((exact - (exact > 0.5))**2))
  slope = gradient(vertices, faces, camera)
  step, got, want = 0.02, [], []
  for move in moves.values():
    move = np.broadcast_to(move, vertices.shape)
    got.append(np.vdot(slope, move))
    pair = [supersampled(vertices + s * move, faces, camera) for s in (step, -step)]
    want.append(np.sum((pair[0] - pair[1]) * PATTERN) / (2 * step))
  error = np.linalg.norm(np.subtract(got, want)) / np.linalg.norm(want)
  assert error < 0.02, (error, got, want)


def square(low, high, depth=0.0):
  """A square in the plane x = depth, as two triangles, by its corners in y and z."""
  place = np.float32([[depth, low[0], low[1]], [depth, high[0], low[1]], [depth, high[0], high[1]],
                      [depth, low[0], high[1]]])
  return padded(place, [[0, 1, 2], [0, 2, 3]])


def front():
  """Two cameras that see one unit of the plane x = 0 along the picture, with y to the right."""
  return cameras.orbit(np.zeros(2), 0.0, 2.0, 2 * np.arctan(0.25), True)


@pytest.mark.parametrize('turned', [False, True])
def test_an_upright_rectangle_has_exact_shares_but_in_its_corners(turned):
  """Boundary edges, of a surface seen from either side."""
  low, high = np.array([5.3, 24.9]), np.array([24.1, 35.6])  # pixels, x to the right and y up
  vertices, faces = square(low / SIZE - 0.5, high / SIZE - 0.5)
  faces = faces[:, ::-1] if turned else faces
  picture, edges = mask(vertices, faces, front())
  share = lambda a, b: np.clip(np.minimum(b, np.arange(SIZE) + 1) - np.maximum(a, np.arange(SIZE)),
                               0, 1)
  want = (share(low[1], high[1])[:, None] * share(low[0], high[0])[None])[::-1]
  off = np.abs(picture[0] - want)
  assert (off > 1e-4).sum() == 4 and off.max() < 0.3  # the corners
  slope = np.asarray(gradient(vertices, faces, front()))
  # Rows 12 to 22 have their centres between the edges; the right one crosses column 24.
  np.testing.assert_allclose(slope[1, 1] + slope[2, 1], 2 * SIZE * PATTERN[12:23, 24].sum(),
                             rtol=1e-3)
  assert edges.needs == 2 * (2 * 11 + 2 * 19)


def test_edges_behind_another_surface_do_not_count():
  wall, faces = square((-0.4, -0.4), (0.4, 0.4), depth=0.5)
  hidden, _ = square((-0.2, -0.1), (0.1, 0.25))
  picture, _ = mask(wall, faces, front())
  wall[4:8], faces[2:4] = hidden[:4], faces[:2] + 4
  both, _ = mask(wall, faces, front())
  np.testing.assert_array_equal(both, picture)
  slope = gradient(wall, faces, front())
  assert np.abs(slope[:4]).max() > 1 and not np.abs(slope[4:]).any()


def test_gradients_are_finite_beside_and_behind_the_camera():
  vertices, faces = egg(2)
  vertices = vertices.copy()
  vertices[faces[0]] = vertices[faces[0][0]]
  vertices[faces[40][1]] = [9, 9, 9]
  camera = cameras.orbit(jnp.array([0.3, 1.5]), 0.35, jnp.array([0.7, 1.5]), 0.8)
  slope = gradient(vertices, faces, camera)
  assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_a_short_list_is_counted():
  vertices, faces = egg(2)

  @jax.jit
  def short(vertices):
    shape = raster.project(vertices, faces, front(), SIZE)
    picture = raster.rasterize(shape, SIZE, CAPACITY)
    twin = connectivity.twins(faces, jnp.ones(len(faces), bool))
    return silhouette.locate(shape, picture, twin, CAPACITY._replace(crossings=20))
  edges = short(vertices)
  assert edges.overflow == edges.needs - 20 > 20

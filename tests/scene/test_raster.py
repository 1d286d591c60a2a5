"""The rasteriser against trimesh's rays, planes and the host z-buffer."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jax3dgen.core import camera as cameras
from jax3dgen.core.errors import MeshError
from jax3dgen.scene import mesh as meshes
from jax3dgen.scene import raster, zbuffer

SIZE = 24
BALL = trimesh.creation.icosphere(subdivisions=2, radius=0.6)


def soup(count=30, seed=0):
  """Vertices and faces of random triangles in the unit ball."""
  rng = np.random.default_rng(seed)
  place = rng.uniform(-0.5, 0.5, (count, 1, 3)) + rng.uniform(-0.4, 0.4, (count, 3, 3))
  return place.reshape(-1, 3).astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(
      -1, 3)


def ball():
  """Vertices and faces of an uneven closed mesh."""
  rng = np.random.default_rng(1)
  return ((BALL.vertices * [1, 0.7, 0.8] + rng.normal(0, 0.02, BALL.vertices.shape)).astype(
      np.float32), BALL.faces.astype(np.int32))


def pad(vertices, faces):
  """Vertices [170, 3] and faces [330, 3], so that few programs are compiled, and their mask."""
  return (np.pad(vertices, ((0, 170 - len(vertices)), (0, 0))),
          np.pad(faces, ((0, 330 - len(faces)), (0, 0))), np.arange(330) < len(faces))


def orbit(orthographic=False):
  return cameras.orbit(jnp.array([0.4, 2.5]), jnp.array([0.3, -0.2]), 2.2, 0.8, orthographic)


@jax.jit
def draw(vertices, faces, mask, camera):
  """Picture, interpolated positions, face normals and smooth normals."""
  shape = raster.project(vertices, faces, camera, SIZE, mask)
  picture = raster.rasterize(shape, SIZE, raster.Capacity(8000, 8000, 0))
  return (picture, raster.interpolate(picture, faces, vertices),
          raster.face_normals(picture, vertices, faces),
          raster.smooth_normals(picture, faces, meshes.normals(vertices, faces)))


def hits(vertices, faces, camera):
  """Face [B, H, W] (-1 for none) and place [B, H, W, 3] of the first hit, by trimesh's intersector
  on all pairs of a ray and a triangle."""
  rays = cameras.rays(camera, SIZE, SIZE)
  origin, direction = (np.asarray(x, np.float64).reshape(-1, 3)
                       for x in (rays.origin, rays.direction))
  every = types.SimpleNamespace(bounds=np.array([-9.0] * 3 + [9.0] * 3),
                                intersection=lambda bounds: range(len(faces)))
  face, ray, place = trimesh.ray.ray_triangle.ray_triangle_id(
      vertices[faces].astype(np.float64), origin, direction, tree=every, multiple_hits=False)
  index, places = np.full(len(origin), -1), np.zeros((len(origin), 3))
  index[ray], places[ray] = face, place
  return (x.reshape(-1, SIZE, SIZE, *x.shape[1:]) for x in (index, places))


@pytest.mark.parametrize('shape', [soup, ball])
@pytest.mark.parametrize('orthographic', [False, True])
def test_coverage_faces_and_depths_are_those_of_rays(shape, orthographic):
  vertices, faces = shape()
  camera = orbit(orthographic)
  face, place = hits(vertices, faces, camera)
  picture, got, flat, smooth = draw(*pad(vertices, faces), camera)
  assert picture.overflow == 0 and picture.face.max() < len(faces)
  assert 0.15 < (face >= 0).mean() < 0.9
  same = np.asarray(picture.face) == face
  assert same.mean() > 0.998  # a ray through an edge may go either way
  np.testing.assert_array_equal(picture.mask > 0, picture.face >= 0)
  seen = same & (face >= 0)
  pose = np.asarray(camera.c2w, np.float64)
  depth = -np.einsum('bhwi,bi->bhw', place - pose[:, None, None, :3, 3], pose[:, :3, 2])
  np.testing.assert_allclose(np.asarray(picture.depth)[seen], depth[seen], atol=1e-4)
  assert np.isinf(np.asarray(picture.depth)[same & (face < 0)]).all()
  np.testing.assert_allclose(np.asarray(got)[seen], place[seen], atol=2e-4)
  solid = trimesh.Trimesh(vertices, faces, process=False)
  np.testing.assert_allclose(np.asarray(flat)[seen], solid.face_normals[face[seen]], atol=2e-3)
  length = np.linalg.norm(smooth, axis=-1)
  np.testing.assert_allclose(length, picture.mask, atol=1e-5)
  weight = np.asarray(picture.barycentrics)[seen]
  assert (weight >= 0).all() and np.abs(weight.sum(-1) - 1).max() < 1e-5


def test_smooth_normals_of_a_ball_are_radial():
  vertices, faces = BALL.vertices.astype(np.float32), BALL.faces.astype(np.int32)
  picture, place, _, normal = draw(*pad(vertices, faces), orbit())
  radial = raster.unit(place)
  assert (np.sum(radial * normal, -1)[np.asarray(picture.mask) > 0] > 0.999).all()


@pytest.mark.parametrize('orthographic', [False, True])
def test_interpolation_on_a_plane_is_exact(orthographic):
  """A tilted square of 50 triangles: what is affine in space is that of the ray's point."""
  grid = np.stack(np.meshgrid(np.arange(6), np.arange(6), indexing='ij'), -1).reshape(-1, 2)
  place = (grid @ np.array([[0.3, -0.5, 0.1], [0.2, 0.3, 0.6]]) / 5 - 0.3).astype(np.float32)
  corner = np.array([6 * i + j for i in range(5) for j in range(5)])[:, None]
  faces = np.concatenate([corner + [0, 6, 1], corner + [1, 6, 7]]).astype(np.int32)
  camera = orbit(orthographic)
  picture, got, normal, _ = draw(*pad(place, faces), camera)
  seen = np.asarray(picture.mask) > 0
  assert seen.sum() > 50
  rays = cameras.rays(camera, SIZE, SIZE)
  origin, direction = np.asarray(rays.origin, float), np.asarray(rays.direction, float)
  across = np.cross([0.3, -0.5, 0.1], [0.2, 0.3, 0.6])
  t = ((place[0] - origin) @ across) / (direction @ across)
  want = origin + t[..., None] * direction
  np.testing.assert_allclose(np.asarray(got)[seen], want[seen], atol=1e-5)
  np.testing.assert_allclose(np.asarray(normal)[seen] @ across, np.linalg.norm(across), rtol=1e-4)


@pytest.mark.parametrize('orthographic', [False, True])
def test_projection_is_that_of_the_host(orthographic):
  vertices, faces = soup()
  camera = orbit(orthographic)
  got = jax.jit(lambda v: raster.project(v, faces, camera, SIZE))(vertices)
  for i in range(2):
    place, depth = zbuffer.project(vertices, camera, i, SIZE)
    np.testing.assert_allclose(got.place[i], place, atol=1e-4)
    np.testing.assert_allclose(got.depth[i], depth, atol=1e-5)


def test_cameras_may_be_mapped():
  vertices, faces, mask = pad(*ball())
  camera = orbit()
  want = draw(vertices, faces, mask, camera)
  single = lambda one: draw(vertices, faces, mask, jax.tree.map(lambda x: x[None], one))
  got = jax.jit(jax.vmap(single))(camera)
  np.testing.assert_array_equal(got[0].face[:, 0], want[0].face)
  for a, b in zip(jax.tree.leaves(got)[2:4] + list(got[1:]),
                  jax.tree.leaves(want)[2:4] + list(want[1:]), strict=True):
    np.testing.assert_allclose(a[:, 0], b, atol=1e-5)


def test_short_lists_are_counted_and_reported():
  vertices, faces = ball()
  enough = raster.capacity(len(faces), 2, SIZE)
  picture = lambda size: jax.jit(
      lambda v: raster.rasterize(raster.project(v, faces, orbit(), SIZE), SIZE, size))(vertices)
  needs = raster.check(picture(enough)).needs
  assert (np.asarray(needs) > 100).all() and (np.asarray(needs) < enough[:2]).all()
  for cut in (int(needs[0]) - 3, enough[1]), (enough[0], int(needs[1]) - 3):
    short = picture(raster.Capacity(*cut, 0))
    assert short.overflow >= 3
    with pytest.raises(MeshError, match='lists of'):
      raster.check(short)


@jax.jit
@jax.value_and_grad
def loss(vertices, faces, mask, camera):
  picture, place, flat, smooth = draw(vertices, faces, mask, camera)
  depth = jnp.where(picture.mask > 0, picture.depth, 0.0)
  return jnp.sum(jnp.sin(place) + flat + smooth**2) + depth.sum()


def test_gradients_are_finite_for_faces_that_cannot_be_drawn():
  vertices, faces = soup(40)
  eye = np.asarray(orbit().c2w[0, :3, 3])
  corner = vertices.reshape(-1, 3, 3)
  corner[0] = corner[0, :1]  # a point
  corner[1, 2] = 0.5 * (corner[1, 0] + corner[1, 1])  # a line
  corner[2] = eye + np.float32([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]])  # at the camera
  corner[3] += 2 * eye  # behind it
  corner[4] += np.float32([0, 50, 0])  # beside the picture
  corner[5, 0] = 3 * eye  # in part behind it
  corner[6] = eye * np.float32([[0.2], [0.3], [0.4]])  # seen edge-on
  value, slope = loss(*pad(vertices, faces), orbit())
  assert np.isfinite(value) and np.isfinite(slope).all()
  slope = np.asarray(slope)[:120].reshape(-1, 3, 3)
  assert not np.abs(slope[[0, 4]]).any() and (np.abs(slope[7:]).max((1, 2)) > 0).any()


def test_gradients_of_interior_pixels_are_those_of_differences(x64):
  vertices, faces, mask = pad(*ball())
  vertices = vertices.astype(np.float64)
  move = np.random.default_rng(0).normal(size=vertices.shape)
  camera = jax.tree.map(lambda x: x.astype(jnp.float64), orbit())
  at = lambda s: draw(vertices + s * move, faces, mask, camera)
  fixed = np.asarray(at(-1e-6)[0].face) == np.asarray(at(1e-6)[0].face)
  assert fixed.all()
  _, slope = loss(vertices, faces, mask, camera)
  want = (loss(vertices + 1e-6 * move, faces, mask, camera)[0]
          - loss(vertices - 1e-6 * move, faces, mask, camera)[0]) / 2e-6
  np.testing.assert_allclose(np.vdot(slope, move), want, rtol=1e-4)

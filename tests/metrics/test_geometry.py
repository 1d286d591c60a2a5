"""Chamfer distance, F-score and ICP against scipy, closed forms and a numpy loop."""

import jax
import numpy as np
import pytest
from scipy import spatial
from scipy.spatial.transform import Rotation
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.metrics import geometry

rigid = jax.jit(geometry.rigid)


def mesh_of(surface):
  return Mesh(surface.vertices, np.asarray(surface.faces))


def square(height=0.0):
  """A unit square at z = `height`."""
  vertices = np.array([(0, 0, height), (1, 0, height), (1, 1, height), (0, 1, height)])
  return Mesh(vertices, np.array([(0, 1, 2), (0, 2, 3)]))


def teapot():
  """A solid without symmetry."""
  parts = [trimesh.creation.torus(0.4, 0.12), trimesh.creation.box((0.3, 0.5, 0.9)),
           trimesh.creation.icosphere(2, 0.2)]
  parts[1].apply_translation((0.5, 0.1, 0.2))
  parts[2].apply_translation((-0.4, 0.3, 0.5))
  return mesh_of(trimesh.util.concatenate(parts))


def icp_by_loop(points, target, reach=0.02, iterations=50):
  """Point-to-point ICP in numpy and scipy, as Open3D's registration_icp does it."""
  tree = spatial.cKDTree(target)

  def look(points):
    distance, index = tree.query(points)
    near = distance < reach
    return index, near, near.mean(), np.sqrt((distance[near]**2).mean()) if near.any() else 0.0

  index, near, fitness, rmse = look(points)
  count, settled = 0, False
  while count < iterations and not settled:
    count += 1
    here, there = points[near].mean(0), target[index[near]].mean(0)
    turn = Rotation.align_vectors(target[index[near]] - there, points[near] - here)[0]
    points = turn.apply(points - here) + there
    index, near, fit, rms = look(points)
    settled = abs(fit - fitness) < 1e-6 and abs(rms - rmse) < 1e-6
    fitness, rmse = fit, rms
  return points, count


@pytest.mark.parametrize('n, k', [(1500, 1500), (700, 1), (3, 1301), (513, 128)])
def test_nearest_is_that_of_scipy(n, k, x64):
  """For every size of chunk and table, and far from the origin."""
  random = np.random.default_rng(0)
  points, others = random.random((n, 3)) + 100, random.random((k, 3)) + 100
  distance, index = jax.jit(geometry.nearest)(points, others)
  expected = spatial.cKDTree(others).query(points)
  np.testing.assert_allclose(distance, expected[0], atol=1e-12)
  np.testing.assert_array_equal(index, expected[1])


def test_nearest_in_single_precision():
  """Distances are those of the points found, not of a difference of large squares."""
  random = np.random.default_rng(0)
  others = random.random((2000, 3)).astype(np.float32) - 0.5
  points = others + random.normal(size=(2000, 3)).astype(np.float32) * 1e-5
  distance, _ = jax.jit(geometry.nearest)(points, others)
  np.testing.assert_allclose(distance, spatial.cKDTree(others).query(points)[0], rtol=1e-3)


def test_scores_are_those_of_scipy(x64):
  random = np.random.default_rng(0)
  points, true = random.random((1200, 3)), random.random((900, 3)) * (1, 1, 0.9)
  score = jax.jit(geometry.score)(points, true)
  forth = spatial.cKDTree(true).query(points)[0]
  back = spatial.cKDTree(points).query(true)[0]
  precision, recall = (forth < 0.05).mean(), (back < 0.05).mean()
  assert 0.2 < precision < 0.9
  np.testing.assert_allclose(score.chamfer, (forth.mean() + back.mean()) / 2)
  np.testing.assert_allclose((score.precision, score.recall), (precision, recall))
  np.testing.assert_allclose(score.f_score, 2 * precision * recall / (precision + recall))


def test_shapes_far_apart_have_f_score_zero():
  random = np.random.default_rng(0)
  cloud = random.random((300, 3)).astype(np.float32)
  score = jax.jit(geometry.score)(cloud, cloud + np.float32(9))
  assert score.f_score == score.precision == score.recall == 0
  gradient = jax.jit(jax.grad(lambda points: geometry.score(points, points * 1.0).chamfer))(cloud)
  assert np.isfinite(gradient).all()  # even where points coincide


def test_samples_are_even():
  """Shares of faces follow their areas; within a face, mean and spread are a triangle's."""
  vertices = np.array([(0, 0, 0), (3, 0, 0), (0, 2, 0), (0, 0, 1), (0, 0, 0)], float)
  mesh = Mesh(vertices, np.array([(0, 1, 2), (0, 1, 3), (0, 4, 1)]))  # areas 3, 1.5 and 0
  points = geometry.sample(jax.random.key(0), mesh, 30000)
  floor = points[:, 2] == 0
  np.testing.assert_allclose(floor.mean(), 2 / 3, atol=0.01)
  assert (points[~floor, 1] == 0).all() and (points >= 0).all()
  inside = points[floor, :2] / (3, 2)
  assert inside.sum(1).max() <= 1
  np.testing.assert_allclose(inside.mean(0), 1 / 3, atol=5e-3)
  np.testing.assert_allclose(np.cov(inside.T), [(1 / 18, -1 / 36), (-1 / 36, 1 / 18)], atol=1e-3)
  again = geometry.sample(jax.random.key(0), mesh, 30000)
  np.testing.assert_array_equal(points, again)
  with pytest.raises(MeshError, match='no area'):
    geometry.sample(jax.random.key(0), Mesh(vertices, np.array([(0, 4, 1)])))


@pytest.mark.parametrize('degrees', [0.0, 1.0, 90.0, 179.9, 180.0])
def test_rigid_motion_is_found(degrees, x64):
  random = np.random.default_rng(0)
  points = random.random((50, 3))
  turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.array((0.6, 0.0, 0.8)))
  others = turn.apply(points) + (1, 2, 3)
  mask = np.arange(50) < 40
  others[40:] = 9.0  # what the mask leaves out does not count
  rotation, shift = rigid(points, others, mask)
  np.testing.assert_allclose(rotation, turn.as_matrix(), atol=1e-9)
  np.testing.assert_allclose(shift, (1, 2, 3), atol=1e-9)


def test_no_motion_is_a_reflection(x64):
  """The mirror image is met by the rotation that scipy finds; a flat cloud by a rotation, too."""
  random = np.random.default_rng(0)
  points = random.normal(size=(50, 3)) * (1, 2, 3)
  for others in (points * (1, 1, -1), points * (1, 1, 0)):
    for source in (points, points * (1, 1, 0)):
      rotation, _ = rigid(source, others, np.ones(50, bool))
      np.testing.assert_allclose(np.linalg.det(rotation), 1)
  expected = Rotation.align_vectors(points * (1, 1, -1) - (points * (1, 1, -1)).mean(0),
                                    points - points.mean(0))[0]
  np.testing.assert_allclose(
      rigid(points, points * (1, 1, -1), np.ones(50, bool))[0], expected.as_matrix(), atol=1e-9)


def test_too_few_points_move_nothing():
  points = np.random.default_rng(0).random((5, 3)).astype(np.float32)
  for count in range(3):
    rotation, shift = rigid(points, points + 1, np.arange(5) < count)
    np.testing.assert_array_equal(rotation, np.eye(3))
    np.testing.assert_array_equal(shift, 0)


def test_icp_undoes_a_small_motion(x64):
  """Points further apart than the motion: every one finds its own, so nothing is left of it."""
  random = np.random.default_rng(0)
  target = random.random((300, 3))
  turn = Rotation.from_rotvec((0.002, -0.003, 0.004))
  moved, count = jax.jit(geometry.icp)(turn.apply(target) + (0.003, 0, -0.002), target)
  np.testing.assert_allclose(moved, target, atol=1e-9)
  assert count <= 3


def test_icp_is_that_of_a_loop(x64):
  """Two samples of one surface, the second moved by up to the reach: the same steps and ends."""
  keys = jax.random.split(jax.random.key(1))
  target = geometry.sample(keys[0], teapot(), 2500)
  turn = Rotation.from_rotvec((0.01, 0.02, -0.02))
  points = turn.apply(geometry.sample(keys[1], teapot(), 2000)) + (0.01, -0.005, 0.008)
  moved, count = jax.jit(geometry.icp)(points, target)
  expected, steps = icp_by_loop(points, target)
  assert count == steps and 3 < steps
  np.testing.assert_allclose(moved, expected, atol=1e-7)


def test_trees_and_matrix_products_agree(x64):
  """Where nearly all, a part and nothing is in reach."""
  keys = jax.random.split(jax.random.key(2))
  true = geometry.sample(keys[0], teapot(), 1500)
  for shift in (0.01, 0.1, 3.0):
    points = geometry.sample(keys[1], teapot(), 1700) + (shift, 0, 0)
    expected = geometry.compare(points[None], true[None])
    for a, b in zip(jax.tree.leaves(geometry.with_trees(points, true)), jax.tree.leaves(expected)):
      np.testing.assert_allclose(a, b[0], atol=1e-7)


def test_parallel_squares():
  """The distance of parallel unit squares, which ICP closes below its reach alone.

  N even points of a square leave 1 / (pi N) as the mean square distance of a place in it to the
  nearest, so the distance between samples of squares d apart is d + 1 / (2 pi N d) for large N d^2.
  """
  count, score, icp = 4000, jax.jit(geometry.score), jax.jit(geometry.icp)
  keys = jax.random.split(jax.random.key(0))
  samples = lambda d: (geometry.sample(keys[0], square(d), count).astype(np.float32) - 0.5,
                       geometry.sample(keys[1], square(), count).astype(np.float32) - 0.5)
  for d in (0.1, 0.3):
    points, true = samples(d)
    np.testing.assert_allclose(score(points, true).chamfer, d + 1 / (2 * np.pi * count * d),
                               rtol=1e-3)
    np.testing.assert_array_equal(icp(points, true)[0], points)  # nothing corresponds
  points, true = samples(0.015)
  noise = 0.5 / np.sqrt(count)
  assert score(points, true).chamfer > 0.015
  np.testing.assert_allclose(geometry.compare(points[None], true[None]).chamfer, noise, rtol=0.1)


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_equal_meshes_differ_by_sampling_alone(backend, monkeypatch):
  """Nothing of place and size is left, and each of nine pairs (more than go together) is compared
  with its own. Of N points on an area A, one lies further than r from all of another such sample
  with probability exp(-pi N r^2 / A), so 1/2 sqrt(A / N) away in the mean."""
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  box = trimesh.creation.box((1.0, 0.5, 0.25))
  meshes = [teapot()] + [mesh_of(box)] * 8
  moved = [mesh.replace(vertices=mesh.vertices * 7 + (1, 2, 3)) for mesh in meshes]
  score = geometry.measure(jax.random.key(0), meshes, moved, count=1000)
  assert all(np.shape(column) == (9,) for column in jax.tree.leaves(score))
  np.testing.assert_allclose(score.chamfer[1:], 0.5 * np.sqrt(box.area / 1000), rtol=0.1)
  expected = 1 - np.exp(-np.pi * 1000 * geometry.TAU**2 / box.area)  # 0.989
  np.testing.assert_allclose(score.f_score[1:], expected, atol=0.01)
  other = geometry.measure(jax.random.key(0), meshes[:1], [mesh_of(box)], count=1000)
  assert other.chamfer[0] > 3 * score.chamfer[0] and other.f_score[0] < 0.8

"""Losses against closed forms (facts of Atlas3D) and a transcription of the tilting by matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, losses, mjx_batch, native, penalty, quaternion
from jax3dgen.scene import mesh_regularizers
from jax3dgen.scene.solid import solid


@pytest.mark.parametrize('theta, expected', [(0.1, 0.0199833), (1.0, 1.8387908), (np.pi, 8.0)])
def test_standability_of_a_turn(theta, expected):
  start, axis = Rotation.from_rotvec([0.3, -0.2, 0.1]), np.array([2.0, -1, 2]) / 3
  end = Rotation.from_rotvec(theta * axis) * start
  wxyz = lambda r: jnp.asarray(np.roll(r.as_quat(), 1))
  np.testing.assert_allclose(losses.rotation_loss(wxyz(end), wxyz(start)), expected, rtol=1e-5)
  frobenius = np.sum((end.as_matrix() - start.as_matrix())**2)
  np.testing.assert_allclose(frobenius, expected, rtol=1e-5)


def tilted_by_matrices(vertices, center):
  """The loss, with one rotation matrix for each tilt."""
  vertices = vertices - center
  losses_ = []
  for theta in 0.1 * np.arange(1, 11) / 10:
    for phi in 2 * np.pi * np.arange(20) / 20:
      turn = Rotation.from_euler('ZY', [phi, theta]).as_matrix()
      losses_.append(max(0.0, -vertices[:, 2].min() + (vertices @ turn)[:, 2].min()))
  return np.mean(losses_)


OCTAHEDRON = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1.0)])
CUBOID = 0.5 * np.array([(x, y, z) for x in (-.5, .5) for y in (-.5, .5) for z in (-1, 1)])
POLAR, SIDE = np.meshgrid(np.linspace(0, 0.4, 2001), 2 * np.pi * np.arange(20) / 20)
BOWL = np.stack([np.sin(POLAR) * np.cos(SIDE), np.sin(POLAR) * np.sin(SIDE), -np.cos(POLAR)],
                -1).reshape(-1, 3)  # what of a dense ball can touch


@pytest.mark.parametrize('vertices, center, expected, error', [
    (OCTAHEDRON, (0, 0, 0), 0.001923945, 1e-8),
    (BOWL * np.array([0.3, 0.3, 0.5]), (0, 0, 0), 6.152971e-4, 1e-9),
    (BOWL, (0, 0, 0), 0.0, 1e-8),
    (CUBOID, (0, 0, 0), 0.0, 0),
    (CUBOID, (0, 0, 0.45), 0.0, 0),
    (CUBOID, (0.24, 0, 0), 2.18736e-5, 1e-9)])
def test_equilibrium_in_closed_form(x64, vertices, center, expected, error):
  result = jax.jit(losses.equilibrium)(vertices, np.asarray(center, float))
  np.testing.assert_allclose(result, expected, atol=error + 1e-12)
  np.testing.assert_allclose(result, tilted_by_matrices(vertices, np.array(center)), atol=1e-12)


def test_bottom_laplacian_is_that_of_the_sole_alone():
  plate = trimesh.creation.box((1.0, 1.0, 0.5)).subdivide().subdivide()
  links = np.concatenate([plate.edges_unique, plate.edges_unique[:, ::-1]])
  vertices = np.array(plate.vertices)
  neighbours = [vertices[n].mean(0) - v for n, v in
                zip(plate.vertex_neighbors, vertices, strict=True)]
  got = jax.jit(mesh_regularizers.laplacian)(vertices, links)
  np.testing.assert_allclose(got, neighbours, atol=1e-6)
  low = vertices[:, 2] < -0.24
  expected = np.abs(np.array(neighbours)[low, 2]).mean()
  loss = jax.jit(lambda v: losses.bottom_laplacian(v, links))
  np.testing.assert_allclose(loss(vertices), expected, rtol=1e-5)
  inner = np.flatnonzero(low & (np.abs(vertices[:, :2]).max(1) < 0.3))[0]
  dented = vertices.copy()
  dented[inner, 2] += 0.015
  assert loss(dented) > expected
  slope = np.asarray(jax.jit(jax.grad(loss))(dented))
  assert slope[inner, 2] > 0 and (slope[vertices[:, 2] > 0.1] == 0).all()


def leaning(offset):
  """(vertices, faces) of a box .4 x .5 x 1 whose top is shifted by `offset`."""
  box = trimesh.creation.box((0.4, 0.5, 1.0))
  box.vertices[:, 0] += offset * (box.vertices[:, 2] + 0.5)
  return jnp.asarray(np.array(box.vertices)), np.array(box.faces)


@jax.jit
def margin_loss(vertices, target):
  """losses.margin of such a box, compiled once."""
  return losses.margin_loss(penalty.of_mesh(vertices, leaning(0.0)[1], np.arange(8)), target)


def test_margin_loss_in_closed_form(x64):
  vertices, _ = leaning(0.2)
  margin = np.arctan2(0.1, 0.5)
  assert margin_loss(vertices, margin - 0.01) == 0
  np.testing.assert_allclose(margin_loss(vertices, margin + 0.05), 0.05, atol=1e-6)
  fallen, _ = leaning(0.6)
  np.testing.assert_allclose(margin_loss(fallen, 0.1), 0.1 + np.arctan2(0.1, 0.5), atol=1e-6)


def test_gradient_of_the_margin_with_respect_to_the_vertices_of_a_mesh(x64):
  rng = np.random.default_rng(0)
  gradient, cosines, h = jax.jit(jax.grad(margin_loss)), [], 1e-6
  for offset in rng.uniform(0.0, 0.6, 12):
    x = np.asarray(leaning(offset)[0]) + rng.uniform(-0.03, 0.03, (8, 3))
    slope = np.asarray(gradient(x, 1.0)).ravel()
    difference = np.array([margin_loss(x + h * e, 1.0) - margin_loss(x - h * e, 1.0)
                           for e in np.eye(24).reshape(24, 8, 3)])
    cosines.append(slope @ difference / np.linalg.norm(slope) / np.linalg.norm(difference))
  assert np.median(cosines) > 0.999


@pytest.mark.parametrize('loss', ['standability', 'margin', 'equilibrium'])
def test_descending_a_loss_brings_the_centre_over_the_support(loss):
  vertices, faces = leaning(0.46)
  functions = {
      'standability': lambda v: losses.standability(penalty.of_mesh(v, faces, np.arange(8))),
      'margin': lambda v: margin_loss(v, 0.1),
      'equilibrium': lambda v: losses.equilibrium(v, solid(v, faces).center)}
  center = jax.jit(lambda v: solid(v, faces).center)
  inside = lambda v: center(v)[0] < v[v[:, 2] < 0, 0].max()
  vertices = np.asarray(vertices)
  assert not inside(vertices)
  slope_of = jax.jit(jax.grad(functions[loss]))
  for _ in range(120):  # the tilts take turns: descent is a zigzag
    slope = np.asarray(slope_of(vertices))
    vertices = vertices - np.float32(0.003) * slope / np.maximum(np.linalg.norm(slope), 1e-9)
  assert inside(vertices)


@pytest.mark.slow
def test_standability_through_mjx_is_that_of_mujoco():
  vertices, faces = leaning(0.6)
  item = body.from_mesh(Mesh(np.asarray(vertices, np.float32), faces))
  [(_, packed)] = body.pack([item], 16).buckets
  result = losses.standability(jax.tree.map(lambda x: x[0], packed), rollout=mjx_batch.rollout)
  angle = native.drop(item, seconds=0.3, timestep=4e-3).rotation_deg
  assert angle > 5
  np.testing.assert_allclose(result, 4 * (1 - np.cos(np.deg2rad(angle))), rtol=1e-2)


def test_a_tilt_at_the_start_is_not_counted():
  vertices, faces = leaning(0.0)
  tilt = np.float32([0.0, 0.05, 0.0])
  assert jax.jit(lambda v: losses.standability(
      penalty.of_mesh(v, faces, np.arange(8)), tilt, seconds=2e-3))(vertices) < 1e-6
  start = jax.jit(quaternion.from_vector)(tilt)
  assert losses.rotation_loss(np.float32([1.0, 0, 0, 0]), start) == pytest.approx(
      4 * (1 - np.cos(0.05)), rel=1e-3)

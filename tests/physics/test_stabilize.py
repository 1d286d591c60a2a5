"""Stabilised solids against C MuJoCo at DSO's settings; the deformation and margin by hand."""

import jax
import manifold3d
import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.data import solids
from jax3dgen.physics import body, native, stabilize
from jax3dgen.scene import mesh as meshes


def mesh_of(surface):
  return Mesh(np.float32(surface.vertices), np.int32(surface.faces))


def sheared(lean, size=(0.4, 0.5, 1.0)):
  """A box that leans towards +x: its top is shifted by `lean`."""
  box = trimesh.creation.box(size)
  box.vertices[:, 0] += lean * (box.vertices[:, 2] / size[2] + 0.5)
  return mesh_of(box)


def test_bernstein_weights_reproduce_what_is_linear():
  unit = np.random.default_rng(0).uniform(size=(50, 3))
  weights = stabilize.bernstein(unit, degree=3)
  grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 4)] * 3, indexing='ij'), -1).reshape(-1, 3)
  np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
  np.testing.assert_allclose(weights @ grid, unit, atol=1e-12)
  assert weights.min() >= 0


@pytest.mark.parametrize('lean', [0.0, 0.2, 0.6])
def test_support_margin_of_a_leaning_box(lean):
  mesh = sheared(lean)
  low = float(mesh.vertices[:, 2].min())
  corners = stabilize.base_corners(mesh.vertices, stabilize.edges(mesh.faces), low)
  margin = jax.jit(stabilize.support_margin)(mesh.vertices, mesh.faces, corners)
  # The centre is lean / 2 beyond the middle of a foot of half width 0.2, at height 0.5.
  np.testing.assert_allclose(margin, np.arctan2(0.2 - lean / 2, 0.5), atol=1e-6)


def test_gradient_of_the_support_margin():
  mesh = meshes.refine(sheared(0.2), 0.3)
  corners = stabilize.base_corners(mesh.vertices, stabilize.edges(mesh.faces),
                           float(mesh.vertices[:, 2].min()))
  with jax.enable_x64(True):
    start = np.asarray(mesh.vertices, np.float64)
    direction = np.random.default_rng(1).normal(size=start.shape)
    margin = jax.jit(lambda x: stabilize.support_margin(x, mesh.faces, corners))
    slope = np.vdot(jax.jit(jax.grad(margin))(start), direction)
    h = 1e-6
    np.testing.assert_allclose(
        slope, (margin(start + h * direction) - margin(start - h * direction)) / (2 * h), rtol=1e-5)


def test_sole_is_the_outline_of_what_touches():
  mesh = meshes.refine(sheared(0.0), 0.1)
  corners = stabilize.base_corners(mesh.vertices, stabilize.edges(mesh.faces),
                           float(mesh.vertices[:, 2].min()))
  assert len(corners) == stabilize.CORNERS
  np.testing.assert_allclose(sorted(map(tuple, np.unique(np.abs(mesh.vertices[corners]), axis=0))),
                             [(0.2, 0.25, 0.5)], atol=1e-6)


@pytest.mark.parametrize('vertices', [[(0, 0, 0), (1, 0, 1), (0, 1, 1)],
                                      [(0, 0, 0), (1, 0, 0), (2, 0, 0), (1, 0, 1)]])
def test_a_point_and_a_line_are_no_sole(vertices):
  links = np.array([(i, j) for i in range(len(vertices)) for j in range(len(vertices)) if i != j])
  assert stabilize.base_corners(np.array(vertices, float), links, 0.0) is None


def on_a_plate(*columns):
  """Columns 0.2 wide and 1 high at these x, on one plate of 1 by 1 by 0.02, as one closed mesh."""
  solid = manifold3d.Manifold.cube((1.4, 1.0, 0.02), True)
  for x in columns:
    solid += manifold3d.Manifold.cube((0.2, 0.2, 1.0), True).translate((x, 0, 0.5))
  solid = solid.to_mesh()
  return meshes.refine(Mesh(solid.vert_properties[:, :3], np.int32(solid.tri_verts)), 0.1)


def test_parts_flattened_to_a_sheet_bear_no_load():
  """The plate is below the floor: what is left is the column alone, as a solid."""
  mesh = on_a_plate(0.1)
  flat = mesh.replace(vertices=np.asarray(stabilize.flatten(mesh.vertices, 0.05)))
  assert np.ptp(flat.vertices[:, 0]) > 1.39
  corners = stabilize.base_corners(flat.vertices, stabilize.edges(flat.faces), 0.05)
  assert (abs(flat.vertices[corners, :2] - (0.1, 0)) < 0.1001).all()
  left = stabilize.without_sheets(flat)
  surface = trimesh.Trimesh(left.vertices, left.faces)
  assert surface.is_watertight and meshes.is_watertight(left.faces)
  np.testing.assert_allclose(surface.bounds, [(0.0, -0.1, 0.05), (0.2, 0.1, 1.0)], atol=2e-4)
  np.testing.assert_allclose(surface.volume, 0.2 * 0.2 * 0.95, rtol=1e-3)


def test_a_sheet_connects_no_parts():
  mesh = on_a_plate(-0.5, 0.5)
  for floor, whole in ((0.005, True), (0.05, False)):
    flat = mesh.replace(vertices=np.asarray(stabilize.flatten(mesh.vertices, floor)))
    assert (stabilize.without_sheets(flat) is not None) == whole


def test_folds_are_detected():
  """Stretching along x by 0.1 and 4 and a shear keep the inside in; a reflection does not."""
  size = np.array((0.5, 1.0, 2.0))
  grid = np.stack(np.meshgrid(*[np.linspace(0, 1, stabilize.DEGREE + 1)] * 3, indexing='ij'), -1)
  linear = np.zeros((grid[..., 0].size, 3))
  for factor, folded in ((-0.9, False), (-1.1, True), (3.0, False)):
    linear[:, 0] = factor * size[0] * grid[..., 0].ravel()  # x becomes (1 + factor) x
    assert stabilize.folds(linear, size) == folded
  sheared_far = np.zeros_like(linear)
  sheared_far[:, 0] = 9 * grid[..., 2].ravel()
  assert not stabilize.folds(sheared_far, size)


def test_a_leaning_box_is_made_to_stand():
  mesh = sheared(0.5)
  assert not native.drop(body.from_mesh(mesh)).stable
  result = stabilize.stabilize(mesh)
  assert result.stands and native.drop(body.from_mesh(result.mesh)).stable  # at 1 ms, too
  assert meshes.is_watertight(result.mesh.faces)
  assert 0 < result.moved < 0.1
  # A foot that lies 0.05 inside the sole needs a shift of the centre by 0.05 or more.
  assert abs(trimesh.Trimesh(result.mesh.vertices, result.mesh.faces).volume / 0.2 - 1) < 0.2


def test_what_stands_is_left_alone_and_what_is_open_is_refused():
  mesh = sheared(0.1)
  result = stabilize.stabilize(mesh)
  assert result.stands and result.moved == 0 and result.depth is None
  assert result.mesh is mesh
  with pytest.raises(MeshError, match='no valid solid'):
    stabilize.stabilize(mesh.replace(faces=mesh.faces[:-1]))


def test_what_stands_is_the_mesh_that_is_given_back():
  """Contacts are soft by absolute lengths, so size matters: judged are the mesh's own units. A
  shell beside the largest one is kept, and so are the colours."""
  small = sheared(0.5, (0.4, 0.5, 1.0))
  inner = trimesh.creation.box((0.1, 0.1, 0.1))
  parts = trimesh.util.concatenate([
      trimesh.Trimesh(small.vertices, small.faces),
      trimesh.Trimesh(inner.vertices + (0.25, 0, 0.3), inner.faces[:, ::-1], process=False)])
  mesh = mesh_of(parts)
  mesh = mesh.replace(vertices=7 * mesh.vertices + np.float32(3),
                      colors=np.float32(parts.vertices > 0))
  result = stabilize.stabilize(mesh)
  assert result.stands and native.drop(body.from_mesh(result.mesh)).stable
  shells = meshes.shells(result.mesh.faces, len(result.mesh.vertices))
  assert shells.max() == 1 and meshes.is_watertight(result.mesh.faces)
  assert result.mesh.colors.shape == result.mesh.vertices.shape


@pytest.mark.slow
def test_concave_solids_are_made_to_stand():
  unstable = [m for m in map(solids.random_solid, (11, 20, 26))
              if not native.drop(body.from_mesh(m)).stable]
  assert len(unstable) == 3
  for mesh in unstable:
    result = stabilize.stabilize(mesh)
    assert result.stands and native.drop(body.from_mesh(result.mesh)).stable


def test_smallest_flat_cut():
  capsule = mesh_of(trimesh.creation.capsule(height=1.0, radius=0.3, count=[32, 32]))
  tipped = capsule.replace(vertices=np.float32(
      capsule.vertices @ trimesh.transformations.rotation_matrix(0.1, [1, 0, 0])[:3, :3].T))
  share, cut = stabilize.smallest_flat_cut(tipped)
  assert 0 < share < 0.2 and native.drop(body.from_mesh(cut)).stable
  smaller = meshes.flat_cut(tipped, share - 0.01) if share > 0.01 else tipped
  assert not native.drop(body.from_mesh(smaller)).stable
  assert stabilize.smallest_flat_cut(sheared(1.0, (0.1, 0.1, 1.0)), shares=(0.05, 0.1)) is None

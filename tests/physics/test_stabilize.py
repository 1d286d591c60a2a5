"""Stabilised solids against C MuJoCo at DSO's settings; the deformation and margin by hand."""

import jax
import jax.numpy as jnp
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
  made = sheared(lean)
  low = float(made.vertices[:, 2].min())
  corners = stabilize.sole(made.vertices, low)
  found = stabilize.support_margin(jnp.asarray(made.vertices), made.faces, corners)
  # The centre is lean / 2 beyond the middle of a foot of half width 0.2, at height 0.5.
  np.testing.assert_allclose(found, np.arctan2(0.2 - lean / 2, 0.5), atol=1e-6)


def test_gradient_of_the_support_margin():
  made = meshes.refined(sheared(0.2), 0.3)
  floor = float(made.vertices[:, 2].min())
  corners = stabilize.sole(made.vertices, floor)
  with jax.enable_x64(True):
    start = jnp.asarray(made.vertices, jnp.float64)
    direction = np.random.default_rng(1).normal(size=start.shape)
    margin = lambda x: stabilize.support_margin(x, made.faces, corners)
    slope = jnp.vdot(jax.grad(margin)(start), direction)
    h = 1e-6
    np.testing.assert_allclose(
        slope, (margin(start + h * direction) - margin(start - h * direction)) / (2 * h), rtol=1e-5)


def test_sole_is_the_outline_of_what_touches():
  made = meshes.refined(sheared(0.0), 0.1)
  corners = stabilize.sole(made.vertices, float(made.vertices[:, 2].min()))
  assert len(corners) == stabilize.CORNERS
  np.testing.assert_allclose(sorted(map(tuple, np.unique(np.abs(made.vertices[corners]), axis=0))),
                             [(0.2, 0.25, 0.5)], atol=1e-6)
  assert stabilize.sole(np.array([(0.0, 0, 0), (1, 0, 1), (0, 1, 1)]), 0.0) is None
  assert stabilize.sole(np.array([(0.0, 0, 0), (1, 0, 0), (2, 0, 0)]), 0.0) is None


def test_a_leaning_box_is_made_to_stand():
  made = sheared(0.5)
  assert not native.drop(body.from_mesh(made)).stable
  found = stabilize.stabilize(made)
  assert found.stands and native.drop(body.from_mesh(found.mesh)).stable  # at 1 ms, too
  assert meshes.is_watertight(found.mesh.faces)
  assert 0 < found.moved < 0.1
  # A foot that lies 0.05 inside the sole needs a shift of the centre by 0.05 or more.
  assert abs(trimesh.Trimesh(found.mesh.vertices, found.mesh.faces).volume / 0.2 - 1) < 0.2


def test_what_stands_is_left_alone_and_what_is_open_is_refused():
  made = sheared(0.1)
  found = stabilize.stabilize(made)
  assert found.stands and found.moved == 0 and found.depth is None
  np.testing.assert_allclose(np.ptp(found.mesh.vertices, axis=0), np.ptp(made.vertices, axis=0))
  with pytest.raises(MeshError, match='no solid'):
    stabilize.stabilize(made.replace(faces=made.faces[:-1]))


def test_concave_solids_are_made_to_stand():
  unstable = [m for m in map(solids.random_solid, (11, 20, 26))
              if not native.drop(body.from_mesh(m), timestep=4e-3).stable]
  assert len(unstable) == 3
  for made in unstable:
    found = stabilize.stabilize(made)
    assert found.stands and native.drop(body.from_mesh(found.mesh)).stable


def test_smallest_flat_cut():
  capsule = mesh_of(trimesh.creation.capsule(height=1.0, radius=0.3, count=[32, 32]))
  tipped = capsule.replace(vertices=np.float32(
      capsule.vertices @ trimesh.transformations.rotation_matrix(0.1, [1, 0, 0])[:3, :3].T))
  share, cut = stabilize.flat_cut(tipped)
  assert 0 < share < 0.2 and native.drop(body.from_mesh(cut)).stable
  smaller = meshes.flat_sole(tipped, share - 0.01) if share > 0.01 else tipped
  assert not native.drop(body.from_mesh(smaller), timestep=4e-3).stable
  assert stabilize.flat_cut(sheared(1.0, (0.1, 0.1, 1.0)), shares=(0.05, 0.1)) is None

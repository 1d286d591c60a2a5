"""The bodies of a sweep's meshes: MuJoCo's legacy inertia against the exact one."""

import numpy as np
import pytest
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io, sweep_tables


def write(path, surface):
  mesh_io.write(path, Mesh(np.asarray(surface.vertices, np.float32), surface.faces))
  return path


def body_of(path, inertia):
  [item] = sweep_tables.examine(path, path.name, inertia=inertia, density=500.0)
  assert not item.error
  return item.body


def test_legacy_inertia_of_a_convex_mesh_is_the_exact_one(tmp_path):
  path = write(tmp_path / 'box.obj', trimesh.creation.box((0.4, 0.2, 0.6)))
  exact, legacy = (body_of(path, name) for name in ('exact', 'mujoco_legacy'))
  np.testing.assert_allclose(legacy.mass, exact.mass, rtol=1e-5)
  np.testing.assert_allclose(legacy.center, exact.center, atol=1e-5)
  np.testing.assert_allclose(legacy.inertia, exact.inertia, atol=1e-5 * np.trace(exact.inertia))


def test_legacy_mass_of_a_concave_mesh_is_too_large(tmp_path):
  ring = trimesh.creation.annulus(r_min=0.3, r_max=0.4, height=0.2)
  path = write(tmp_path / 'ring.obj', ring)
  exact, legacy = (body_of(path, name) for name in ('exact', 'mujoco_legacy'))
  # The body lies in the unit cube: the file's volume times density and scale^3.
  assert exact.mass == pytest.approx(500.0 * ring.volume * (exact.scale / 0.8) ** 3, rel=1e-3)
  assert legacy.mass > 1.1 * exact.mass

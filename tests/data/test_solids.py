"""The random solids: the same for the same seed, closed, of unit size, of the kind they say."""

import numpy as np
import pytest
import trimesh

from jax3dgen.data import solids
from jax3dgen.physics import body
from jax3dgen.scene import mesh as meshes


@pytest.mark.parametrize('kind', solids.KINDS)
def test_random_solids(kind):
  start = solids.KINDS.index(kind)
  shares = []
  for seed in range(start, start + 5 * len(solids.KINDS), len(solids.KINDS)):
    assert solids.kind(seed) == kind
    mesh, again = solids.random_solid(seed), solids.random_solid(seed)
    np.testing.assert_array_equal(mesh.vertices, again.vertices)
    np.testing.assert_array_equal(mesh.faces, again.faces)
    assert mesh.vertices.dtype == np.float32 and meshes.is_watertight(mesh.faces)
    np.testing.assert_allclose(np.ptp(mesh.vertices, 0).max(), 1.0, atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(0) + mesh.vertices.min(0), 0.0, atol=1e-6)
    solid = body.from_mesh(mesh, density=1.0)
    assert solid.status == 'exact'
    shares.append(solid.mass / trimesh.convex.convex_hull(mesh.vertices).volume)
  concave = kind in solids.KINDS[4:]
  assert (np.array(shares) < 0.999).all() if concave else (np.array(shares) > 1 - 1e-5).all()

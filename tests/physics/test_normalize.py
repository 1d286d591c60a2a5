"""Places and sizes after normalisation, and what must not move a mesh."""

import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.physics import body
from jax3dgen.physics.normalize import MODES, normalize


def lopsided(scale=1.0, shift=(0.0, 0.0, 0.0)):
  surface = trimesh.creation.cone(0.3, 2.0, sections=7)
  return Mesh(surface.vertices * scale + shift, np.asarray(surface.faces))


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('scale, shift', [(1.0, (0, 0, 0)), (1e-30, (0, 0, 0)),
                                          (3e30, (-1e31, 0, 1e30)), (0.01, (1e3, -2e3, 5e2))])
def test_modes(mode, scale, shift):
  """By their definitions; and the numbers returned are those that were used."""
  mesh = lopsided(scale, shift)
  result, factor, offset = normalize(mesh, mode)
  np.testing.assert_allclose(result.vertices, (mesh.vertices - offset) * factor)
  low, high = result.vertices.min(0), result.vertices.max(0)
  if mode == 'unit_cube':
    np.testing.assert_allclose(low + high, 0, atol=1e-9)
    np.testing.assert_allclose((high - low).max(), 1)
  elif mode == 'dso':
    np.testing.assert_allclose(result.vertices.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.abs(result.vertices).max(), 0.5)
  else:
    assert factor == 1 and not offset.any()
  assert result.vertices.dtype == np.float64 and result.faces is mesh.faces


@pytest.mark.parametrize('mode', ['unit_cube', 'dso'])
def test_stray_and_repeated_vertices_move_nothing(mode):
  plain = lopsided()
  seams = plain.vertices[plain.faces].reshape(-1, 3)
  soup = Mesh(np.concatenate([seams, [(99.0, np.nan, np.inf)]]),
              np.arange(len(seams)).reshape(-1, 3))
  expected, result = normalize(plain, mode), normalize(soup, mode)
  np.testing.assert_allclose(result[1], expected[1])
  np.testing.assert_allclose(result[2], expected[2], atol=1e-12)
  np.testing.assert_allclose(result[0].vertices[:-1], expected[0].vertices[plain.faces].reshape(
      -1, 3), atol=1e-12)


def test_mass_follows_the_scale():
  mesh = lopsided(3.0, (5.0, 6.0, 7.0))
  result, factor, _ = normalize(mesh, 'unit_cube')
  np.testing.assert_allclose(body.from_mesh(result).mass, body.from_mesh(mesh).mass * factor**3)


def test_what_cannot_be_normalised_is_refused():
  with pytest.raises(ConfigError, match="not 'cube'"):
    normalize(lopsided(), 'cube')
  with pytest.raises(MeshError, match='single point'):
    normalize(lopsided(0.0), 'dso')
  with pytest.raises(MeshError, match='no faces'):
    normalize(lopsided().replace(faces=np.zeros((0, 3), int)), 'none')

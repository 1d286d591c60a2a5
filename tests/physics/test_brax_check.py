"""Brax's engines against closed forms and C MuJoCo, by labels: their contacts are not MuJoCo's."""

import sys

import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, brax_check, native_batch

UPRIGHT = np.zeros((1, 3))


def sheared(shift):
  """A box whose centre of mass is at x = shift; its foot reaches from -0.5 to 0.5."""
  foot = [(x, y, 0.0) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
  top = [(x + 2 * shift, y, 1.0) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
  surface = trimesh.convex.convex_hull(np.array(foot + top))
  return Mesh(surface.vertices, surface.faces)


@pytest.mark.slow  # brax's positional step alone compiles for half a minute
@pytest.mark.parametrize('engine', brax_check.ENGINES)
def test_labels(engine):
  pytest.importorskip('brax', reason="needs brax: pip install 'jax3dgen[brax]'")
  rng = np.random.default_rng(0)
  hulls = [trimesh.convex.convex_hull(rng.normal(size=(14, 3)) * (0.3, 0.3, 0.4))
           for _ in range(5)]
  meshes = [sheared(shift) for shift in (0.0, 0.3, 0.7)] + [Mesh(h.vertices, h.faces)
                                                           for h in hulls]
  bodies = body.pack(meshes, hull_vertices=16)
  [(_, packed)] = bodies.buckets
  result = brax_check.simulate(packed, UPRIGHT, engine)
  truth = native_batch.simulate(bodies, UPRIGHT, timestep=4e-3)
  stands = np.asarray(result.rotation_deg)[:, 0] < 20
  np.testing.assert_array_equal(stands[:3], (True, True, False))
  assert (stands == (truth.rotation_deg[:, 0] < 20)).sum() >= 7
  np.testing.assert_allclose(result.rotation_deg[:2], 0.0, atol=2.0)
  np.testing.assert_allclose(result.position[:2, 0, 2], 0.5, atol=0.01)
  poisoned = packed.replace(hull=np.where(np.arange(8)[:, None, None] == 4, np.nan, packed.hull))
  again = brax_check.simulate(poisoned, UPRIGHT, engine)
  assert again.diverged[4].all() and np.isnan(again.rotation_deg[4]).all()
  others = np.arange(8) != 4
  np.testing.assert_array_equal(again.quaternion[others], result.quaternion[others])


def test_a_missing_package_and_an_unknown_engine_are_refused(monkeypatch):
  packed = body.pack([sheared(0.0)]).buckets[0][1]
  with pytest.raises(ConfigError, match='positional and spring'):
    brax_check.simulate(packed, UPRIGHT, 'generalized')
  for name in [n for n in sys.modules if n == 'brax' or n.startswith('brax.')]:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, 'brax', None)
  brax_check._sweep.cache_clear()
  with pytest.raises(ConfigError, match=r'jax3dgen\[brax\]'):
    brax_check.simulate(packed, UPRIGHT, 'spring')

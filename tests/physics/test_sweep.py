"""All engines behind one call: the same worlds, each body in its own row."""

import jax
import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, sweep

ENGINES = ['native', pytest.param('mjx', marks=pytest.mark.slow), 'penalty', 'rest']


def mesh_of(surface):
  return Mesh(np.asarray(surface.vertices), np.asarray(surface.faces))


def bodies():
  """A ball, a pole that a tilt of 4 degrees topples, a box on its side, a cone on its tip."""
  pole = trimesh.creation.box((0.06, 0.06, 1.0))
  tip = trimesh.creation.cone(0.3, 1.0).apply_transform(
      trimesh.transformations.rotation_matrix(np.pi + 0.05, [1, 0, 0]))
  ball = trimesh.creation.icosphere(3, 0.5)  # 642 corners: another bucket
  box = trimesh.creation.box((1.0, 0.5, 0.5))
  return body.pack([mesh_of(x) for x in (ball, pole, box, tip)], hull_vertices=64)


TILTS = np.deg2rad(np.array([(0.0, 0, 0), (4.0, 0, 0), (0, -4.0, 0)])).astype(np.float32)


@pytest.mark.parametrize('engine', ENGINES)
def test_every_body_keeps_its_row(engine):
  result = sweep.run(bodies(), TILTS, engine, seconds=3.0)
  assert result.stable.shape == result.rotation_deg.shape == (4, 3)
  assert result.quaternion.shape == (4, 3, 4) and result.position.shape == (4, 3, 3)
  assert all(isinstance(x, np.ndarray) for x in result)
  np.testing.assert_array_equal(result.stable[1], [True, False, False])  # the pole
  np.testing.assert_array_equal(result.stable[2], [True] * 3)  # the box
  np.testing.assert_array_equal(result.stable[3], [False] * 3)  # the cone on its tip
  assert not result.diverged.any()


@pytest.mark.parametrize('engine', ENGINES[1:])
def test_chunks_and_order_make_no_difference(engine, monkeypatch):
  whole = sweep.run(bodies(), TILTS, engine, seconds=0.5)
  monkeypatch.setattr(sweep, 'WORLDS', 6)
  parts = sweep.run(bodies(), TILTS, engine, seconds=0.5)
  for a, b in zip(whole[:-1], parts[:-1], strict=True):
    np.testing.assert_allclose(a, b, atol=1e-2)  # float32, in other orders


def turned(surface, degrees, axis):
  return mesh_of(surface.copy().apply_transform(
      trimesh.transformations.rotation_matrix(np.deg2rad(degrees), axis)))


@pytest.mark.parametrize('engine', ['native', 'penalty', 'rest',
                                    pytest.param('mjx', marks=pytest.mark.slow)])
def test_engines_agree_on_what_touches_at_a_vertex_or_has_tipped(engine):
  box, cone = trimesh.creation.box((0.5, 1.0, 1.0)), trimesh.creation.cone(0.5, 0.5)
  shapes = [turned(box, 40, (0, 1, 0)),  # on an edge, beyond its critical angle
            turned(box, 10, (1, 2, 0)),  # on a corner, falls back on its foot
            turned(box, 50, (1, 2, 0)),  # on a corner, tips over
            turned(cone, 100, (1, 0, 0)),  # falls on by 35 degrees onto its side
            turned(cone, 0, (1, 0, 0))]
  result = sweep.run(body.pack(shapes), np.zeros((1, 3), np.float32), engine, seconds=5.0)
  np.testing.assert_array_equal(result.stable[:, 0], [False, True, False, False, True])


def test_one_body_with_nan_in_thousands_of_worlds_changes_no_other():
  poles = [mesh_of(trimesh.creation.box((0.04 + 0.001 * i, 0.3, 1.0))) for i in range(64)]
  bodies, tilts = body.pack(poles), sweep.tilts(64, 6.0, jax.random.key(0))
  clean = sweep.run(bodies, tilts, 'rest')
  [(index, packed)] = bodies.buckets
  hull = np.array(packed.hull)
  hull[33, 2] = np.nan
  result = sweep.run(bodies._replace(buckets=((index, packed.replace(hull=hull)),)), tilts, 'rest')
  others = np.arange(64) != 33
  assert result.diverged[33].all() and not result.stable[33].any()
  assert result.diverged.sum() == 64 and 0 < clean.stable.mean() < 1
  for a, b in zip(clean, result, strict=True):
    np.testing.assert_array_equal(a[others], b[others])


def test_tilts_are_horizontal_bounded_and_seeded():
  tilts = sweep.tilts(2000, 4.58, jax.random.key(3))
  angle = np.rad2deg(np.linalg.norm(tilts, axis=1))
  assert tilts.shape == (2000, 3) and (tilts[:, 2] == 0).all()
  assert angle.max() <= 4.58
  np.testing.assert_allclose(np.quantile(angle, [0.25, 0.5, 0.75]), [1.145, 2.29, 3.435], atol=0.15)
  lean = np.arctan2(-tilts[:, 0], tilts[:, 1])
  np.testing.assert_allclose(np.histogram(lean, 4, (-np.pi, np.pi))[0], 500, atol=90)
  np.testing.assert_array_equal(tilts, sweep.tilts(2000, 4.58, jax.random.key(3)))
  np.testing.assert_array_equal(sweep.tilts(0, 4.58, jax.random.key(3)), np.zeros((1, 3)))


def test_unknown_engine_is_refused():
  with pytest.raises(ConfigError, match='native, mjx'):
    sweep.run(bodies(), TILTS, 'bullet')

"""Many drops at once against one drop at a time, and what no thread may do to another."""

import numpy as np
import pytest
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, native, native_batch, outcome


def solids(count, seed=0):
  rng = np.random.default_rng(seed)
  hulls = [trimesh.convex.convex_hull(rng.normal(size=(24, 3)) * (0.3, 0.3, 0.4))
           for _ in range(count)]
  return [body.from_mesh(Mesh(h.vertices + rng.normal(size=3), h.faces)) for h in hulls]


TILTS = np.array([(0.0, 0.0, 0.0), (0.3, 0.0, 0.0), (0.05, -0.6, 0.2)])


@pytest.mark.parametrize('threads', [1, 3, None])
def test_equals_one_drop_at_a_time(threads):
  bodies = body.pack(solids(3))
  result = native_batch.simulate(bodies, TILTS, seconds=2.0, timestep=4e-3, threads=threads)
  for i, item in enumerate(bodies.items):
    for j, tilt in enumerate(TILTS):
      drop = native.drop(item, 2.0, 4e-3, tilt=tilt)
      np.testing.assert_array_equal(result.quaternion[i, j], drop.quaternion)
      assert result.rotation_deg[i, j] == drop.rotation_deg
      assert (result.settled[i, j], result.diverged[i, j]) == (drop.settled, drop.diverged)
      turn = trimesh.transformations.quaternion_matrix(drop.quaternion)[:3, :3]
      np.testing.assert_allclose(result.position[i, j], drop.position + turn @ item.center,
                                 atol=1e-12)


def test_a_bad_body_changes_no_other(capfd, tmp_path, monkeypatch):
  """One is refused, one so huge that MuJoCo warns, in threads of their own."""
  monkeypatch.chdir(tmp_path)
  good = solids(2)
  refused = good[0].replace(hull=good[0].hull * np.nan)
  huge = good[1].replace(hull=good[1].hull * 1e12)
  data = native.release(native.compile_model(huge), huge)
  native.settle(native.compile_model(huge), data, huge, 0.1)
  assert data.warning.number.sum() > 0
  alone = native_batch.simulate(body.Bodies(tuple(good), ()), TILTS, 1.0, 0.05, threads=2)
  mixed = native_batch.simulate(body.Bodies((good[0], refused, huge, good[1]), ()), TILTS, 1.0,
                                0.05, threads=2)
  assert not alone.diverged.any() and mixed.diverged[2].all() and alone.errors == ('', '')
  assert 'MuJoCo cannot simulate' in mixed.errors[1] and mixed.errors[::2] == ('', '')
  np.testing.assert_array_equal(alone.quaternion, mixed.quaternion[[0, 3]])
  assert np.isnan(mixed.rotation_deg[1:3]).all() and not mixed.settled[1:3].any()
  assert not np.asarray(outcome.stable(mixed, 180.0))[1:3].any()
  assert capfd.readouterr() == ('', '') and not list(tmp_path.iterdir())


def test_no_bodies_and_no_tilts():
  assert native_batch.simulate(body.pack([]), TILTS).diverged.shape == (0, 3)
  assert native_batch.simulate(body.pack(solids(1)), TILTS[:0]).quaternion.shape == (1, 0, 4)


def test_friction_stops_a_slide():
  """On a plane that is level nothing slides, so the body is pushed: v^2 = 2 mu g s."""
  surface = trimesh.creation.box((2.0, 2.0, 0.2))
  item = body.from_mesh(Mesh(surface.vertices, surface.faces))
  for friction in (0.2, 0.8):
    model = native.compile_model(item, 1e-3, friction)
    data = native.release(model, item)
    data.qvel[0] = 2.0
    result = native.settle(model, data, item, seconds=3.0)
    assert result.settled
    np.testing.assert_allclose(result.position[0], 4 / (2 * friction * 9.81), rtol=0.02)


def l_prism():
  outline = np.array([(0, 0), (1, 0), (1, 0.2), (0.2, 0.2), (0.2, 1), (0, 1)], float)
  vertices = np.concatenate([np.insert(outline, 2, 0.0, 1), np.insert(outline, 2, 0.4, 1)])
  cap = np.array([(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 5)])
  side = [((i, (i + 1) % 6, 6 + i), ((i + 1) % 6, 6 + (i + 1) % 6, 6 + i)) for i in range(6)]
  return Mesh(vertices, np.concatenate([cap[:, ::-1], cap + 6, np.array(side).reshape(-1, 3)]))


def test_legacy_figures_of_the_l_prism():
  mesh = l_prism()
  mass, center, inertia = native.legacy_figures(mesh)
  np.testing.assert_allclose((mass / 1000, center[0]), (0.2036, 0.3397), atol=5e-5)
  for other in (Mesh(mesh.vertices, mesh.faces[:, ::-1]),
                Mesh(np.concatenate([[(9e9, 0, 0)], mesh.vertices + 500]), mesh.faces + 1)):
    figures = native.legacy_figures(other)
    shift = other.vertices[-1] - mesh.vertices[-1]
    np.testing.assert_allclose(figures[0], mass)
    np.testing.assert_allclose(figures[1] - shift, center, atol=1e-6)
    np.testing.assert_allclose(figures[2], inertia, atol=1e-4)
  large = native.legacy_figures(mesh, density=10.0, scale=3.0)
  np.testing.assert_allclose(large[0], 27 * mass / 100, rtol=1e-6)
  np.testing.assert_allclose(large[1], 3 * center, rtol=1e-6)
  np.testing.assert_allclose(large[2], 243 * inertia / 100, atol=1e-4)


def test_legacy_figures_are_exact_for_convex_meshes():
  surface = trimesh.creation.icosphere(subdivisions=1)
  surface.apply_transform(trimesh.transformations.rotation_matrix(0.5, (1, 2, 3)))
  surface.apply_scale((1.0, 0.7, 0.4))
  mesh = Mesh(surface.vertices, surface.faces)
  exact = body.from_mesh(mesh)
  for ours, theirs in zip((exact.mass, exact.center, exact.inertia), native.legacy_figures(mesh)):
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)

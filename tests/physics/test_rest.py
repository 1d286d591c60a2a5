"""Quasi-static settling against closed forms, finite differences and C MuJoCo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.data import solids
from jax3dgen.physics import body, native_batch, rest, sweep


def packed_of(*surfaces):
  """The Packed of trimesh surfaces, in float32, in one bucket of 16 corners."""
  meshes = [Mesh(np.asarray(s.vertices), np.asarray(s.faces)) for s in surfaces]
  [(index, packed)] = body.pack(meshes, hull_vertices=16).buckets
  assert list(index) == list(range(len(meshes)))
  return jax.tree.map(lambda x: np.asarray(x, np.float32), packed)


BOX = trimesh.creation.box((0.5, 1.0, 1.0))
settle, margin = jax.jit(rest.settle), jax.jit(rest.margin)


def about_y(*degrees):
  return np.deg2rad([(0.0, d, 0.0) for d in degrees]).astype(np.float32)


@pytest.mark.parametrize('tilt, final', [
    (0, 0), (5, 0), (20, 0), (26.56, 0), (26.57, 90), (28, 90), (46, 90), (-26.56, 0),
    (-26.57, 90)])
def test_a_tilted_box_falls_beyond_its_critical_angle(tilt, final):
  result = settle(packed_of(BOX), about_y(tilt))
  np.testing.assert_allclose(result.rotation_deg[0, 0], final, atol=0.1)
  assert result.settled[0, 0] and not result.diverged[0, 0]


def test_margin_of_a_box_is_its_critical_angle():
  for offset, distance in ((0.0, 0.25), (0.1, 0.15), (-0.2, 0.05)):
    packed = packed_of(BOX)
    # The hull is relative to the centre of mass: moving one is moving the other.
    packed = packed.replace(hull=packed.hull - np.float32([offset, 0, 0]))
    angle = np.rad2deg(margin(packed, np.zeros((1, 3), np.float32)))[0, 0]
    np.testing.assert_allclose(angle, np.rad2deg(np.arctan2(distance, 0.5)), atol=0.01)


def test_a_foot_beside_the_support_has_a_negative_margin():
  packed = packed_of(BOX)
  packed = packed.replace(hull=packed.hull - np.float32([0.3, 0, 0]))
  angle = np.rad2deg(margin(packed, np.zeros((1, 3), np.float32)))[0, 0]
  np.testing.assert_allclose(angle, -np.rad2deg(np.arctan2(0.05, 0.5)), atol=0.01)
  assert settle(packed, np.zeros((1, 3), np.float32)).rotation_deg[0, 0] > 80


@pytest.mark.slow
def test_gradient_of_the_margin_is_that_of_finite_differences():
  bodies = body.pack([solids.random_solid(seed) for seed in range(0, 56, 7)], hull_vertices=64)
  cosines, h = [], 1e-6
  with jax.enable_x64(True):
    tilts = jnp.zeros((1, 3), jnp.float64)
    margin = jax.jit(lambda shift, one: rest.margin(
        one.replace(hull=one.hull - shift[None, None, :]), tilts)[0, 0])
    slope_of = jax.jit(jax.grad(margin))
    for _, packed in bodies.buckets:
      for k in range(len(packed.mass)):
        one = jax.tree.map(lambda x, k=k: jnp.asarray(x[k:k + 1], jnp.float64), packed)
        slope = slope_of(jnp.zeros(3), one)
        difference = jnp.stack([(margin(h * e, one) - margin(-h * e, one)) / (2 * h)
                                for e in jnp.eye(3)])
        cosines.append(float(slope @ difference / jnp.linalg.norm(slope)
                             / jnp.linalg.norm(difference)))
  assert np.median(cosines) > 0.999


def test_labels_are_those_of_mujoco_for_most_random_solids():
  """A larger study is in docs/results/engines.md."""
  bodies = body.pack([solids.random_solid(seed) for seed in range(70)])
  tilts = np.zeros((1, 3), np.float32)
  stable = sweep.run(bodies, tilts, 'rest').stable
  truth = native_batch.simulate(bodies, tilts, timestep=4e-3)
  assert np.mean(stable[:, 0] == (truth.rotation_deg < 20)[:, 0]) >= 0.9


def test_one_body_with_nan_changes_no_other():
  packed = packed_of(BOX, trimesh.creation.box((1.0, 1.0, 0.5)), BOX)
  tilts = about_y(0, 28)
  good = settle(packed, tilts)
  hull = np.array(packed.hull)
  hull[1, 3] = np.nan
  bad = settle(packed.replace(hull=hull), tilts)
  assert bad.diverged[1].all() and not np.asarray(bad.diverged)[[0, 2]].any()
  assert np.isnan(bad.rotation_deg[1]).all() and not bad.settled[1].any()
  for a, b in zip(jax.tree.leaves(good), jax.tree.leaves(bad), strict=True):
    np.testing.assert_array_equal(np.asarray(a)[[0, 2]], np.asarray(b)[[0, 2]])

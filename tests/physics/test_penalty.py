"""The penalty simulator against mechanics by hand, central differences and C MuJoCo."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import spatial
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.data import solids
from jax3dgen.physics import body, losses, native_batch, penalty, sweep, worlds
from jax3dgen.physics.body import Packed
from jax3dgen.physics.native import GRAVITY


def item_of(surface, size=None):
  """The Packed without its leading axis of a trimesh surface, its hull padded to `size` rows."""
  [(_, packed)] = body.pack([Mesh(np.asarray(surface.vertices), np.asarray(surface.faces))],
                            hull_vertices=size or 16).buckets
  return jax.tree.map(lambda x: jnp.asarray(x[0], float), packed)


BOX = trimesh.creation.box((1.0, 0.8, 0.2))
advance = jax.jit(penalty.advance, static_argnums=(2, 3), static_argnames='friction')


def at(height, velocity=(0, 0, 0), spin=(0, 0, 0)):
  return (jnp.asarray(np.array([0, 0, height, 1, 0, 0, 0], float)),
          jnp.asarray(np.array([*velocity, *spin], float)))


def test_free_fall(x64):
  n, dt = 100, 2e-3
  qpos, qvel = advance(item_of(BOX), at(5.0, velocity=(1, 0, 0)), n * dt, dt)
  np.testing.assert_allclose(qvel, [1, 0, -GRAVITY * n * dt, 0, 0, 0], atol=1e-12)
  np.testing.assert_allclose(qpos[:3], [n * dt, 0, 5 - GRAVITY * dt**2 * n * (n + 1) / 2],
                             atol=1e-12)


@pytest.mark.parametrize('shape, count', [(trimesh.creation.box((1.0, 0.8, 0.2)), 4),
                                          (trimesh.creation.cone(0.5, 0.5, sections=9), 9)])
def test_a_body_at_rest_sinks_in_by_its_share_of_the_sag(x64, shape, count):
  item = item_of(shape)
  lowest = float(item.hull[:, 2].min())
  qpos, qvel = advance(item, at(-lowest), 3.0)
  np.testing.assert_allclose(qpos[2] + lowest, -penalty.SAG / count, rtol=1e-6)
  np.testing.assert_allclose(qvel, 0, atol=1e-7)


@pytest.mark.parametrize('friction', [0.2, 0.5])
def test_a_sliding_body_slows_down_by_friction(x64, friction):
  state = at(0.1 - penalty.SAG / 4, velocity=(3.0, 0, 0))
  _, qvel = advance(item_of(BOX), state, 0.4, friction=friction)
  np.testing.assert_allclose(qvel[0], 3.0 - friction * GRAVITY * 0.4, rtol=2e-3)


def test_a_spinning_body_in_the_air_keeps_its_angular_momentum(x64):
  item = item_of(BOX)
  spin = np.array([3.0, 0.1, 2.0])
  qpos, qvel = advance(item, at(50.0, spin=spin), 1.0, 1e-4)
  axes = spatial.transform.Rotation.from_quat(np.roll(qpos[3:], -1)).as_matrix()
  np.testing.assert_allclose(axes @ item.inertia @ qvel[3:], item.inertia @ spin,
                             atol=2e-3 * np.linalg.norm(item.inertia @ spin))
  np.testing.assert_allclose(qvel[3:] @ item.inertia @ qvel[3:], spin @ item.inertia @ spin,
                             rtol=1e-3)


def test_padding_rows_change_nothing():
  few, many = item_of(BOX, 8), item_of(BOX, 64)
  assert len(few.hull) == 8 and len(many.hull) > 8
  ends = [jax.jit(penalty.rollout)(item, (0.0, 0.5, 0.0))[0] for item in (few, many)]
  np.testing.assert_allclose(*ends, atol=1e-5)


@pytest.mark.parametrize('tilt, final', [(20, 0), (26.4, 0), (26.7, 90), (46, 90)])
def test_a_tilted_box_falls_beyond_its_critical_angle(tilt, final):
  packed = jax.tree.map(lambda x: x[None], item_of(trimesh.creation.box((0.5, 1.0, 1.0))))
  result = jax.jit(penalty.simulate)(packed, np.deg2rad([(0.0, tilt, 0.0)]))
  np.testing.assert_allclose(result.rotation_deg, final, atol=0.5)
  assert result.settled.all()


def test_labels_are_those_of_mujoco_for_most_random_solids():
  """Those that four nudges do not change. A larger study is in docs/results/engines.md."""
  bodies = body.pack([solids.random_solid(seed) for seed in range(36)])
  tilts = np.float32([(0, 0, 0), (2e-3, 0, 0), (-2e-3, 0, 0), (0, 2e-3, 0), (0, -2e-3, 0)])
  result = sweep.run(bodies, tilts[:1], 'penalty')
  truth = native_batch.simulate(bodies, tilts, timestep=4e-3).rotation_deg < 20
  robust = (truth == truth[:, :1]).all(1)
  assert not result.diverged.any() and robust.sum() >= 25
  assert np.mean(result.stable[robust] == truth[robust, :1]) >= 0.985


def test_wide_feet_under_a_slender_body_do_not_turn():
  """Explicit friction turns such a body about its own axis where a step of it overshoots."""
  feet = np.array([(0.6 * np.cos(a), 0.6 * np.sin(a), 0.0) for a in np.arange(12) * np.pi / 6])
  mesh = trimesh.convex.convex_hull(np.concatenate([feet, [(0, 0, 0.7)]]))
  item = item_of(mesh)
  item = item.replace(inertia=item.mass * jnp.eye(3) * 0.15**2)  # as if the feet weighed nothing
  packed = jax.tree.map(lambda x: x[None], item)
  result = jax.jit(penalty.simulate)(packed, np.zeros((1, 3), np.float32))
  assert result.settled.all() and result.rotation_deg.max() < 1


def test_one_body_with_nan_changes_no_other():
  good = jax.tree.map(lambda x: np.stack([x] * 3), item_of(BOX))
  hull = good.hull.copy()
  hull[1, 3] = np.nan
  bad = good.replace(hull=hull)
  run = jax.jit(functools.partial(penalty.simulate, seconds=0.5))
  clean, result = run(good, np.zeros((2, 3))), run(bad, np.zeros((2, 3)))
  assert result.diverged[1].all() and not result.diverged[np.array([0, 2])].any()
  np.testing.assert_array_equal(result.quaternion[2], clean.quaternion[2])


def cosines(loss, starts, *rest):
  """Of gradient and central differences of loss(x, *rest), for each x [n] that turns by a degree.

  `starts` and `rest` have a leading axis.
  """
  value, least = jax.jit(jax.value_and_grad(loss)), 4 * (1 - np.cos(np.deg2rad(1)))
  ends = jax.jit(lambda x, *rest: jax.lax.map(lambda y: loss(y, *rest), x))
  values, h = [], 1e-6
  for x, *others in zip(starts, *rest, strict=True):
    turned, slope = value(x, *others)
    if turned > least:
      eye, slope = h * np.eye(len(x)), np.asarray(slope)
      high, low = np.split(np.asarray(ends(np.concatenate([x[None] + eye, x[None] - eye]),
                                           *others)), 2)
      values.append(slope @ (high - low) / np.linalg.norm(slope) / np.linalg.norm(high - low))
  assert len(values) >= 8
  return np.array(values)


def same_size(seeds, size):
  """The Packed [B] of those random solids whose hulls have at least `size` vertices, cut to it.

  No row is a repeat: to move one of several that stand for the same vertex makes them several. A
  small displacement makes their lowest vertex one: the height of release has a kink at a tie.
  """
  rng = np.random.default_rng(0)
  bodies = body.pack([solids.random_solid(seed) for seed in seeds]).items
  moved = lambda hull: hull[:size] + rng.normal(0, 1e-3, (size, 3))
  items = [Packed(moved(b.hull - b.center), b.mass / b.mass, b.center, b.inertia / b.mass, 0.0)
           for b in bodies if len(b.hull) >= size]
  return jax.tree.map(lambda *x: np.stack(x).astype(np.float64), *items)


def test_gradient_with_respect_to_the_centre_of_mass(x64):
  items = same_size(range(42), 12)
  items = [jax.tree.map(lambda x, i=i: x[i], items) for i in range(len(items.mass))]
  loss = lambda shift, item: losses.standability(item.replace(hull=item.hull - shift[None]))
  assert np.median(cosines(loss, np.zeros((len(items), 3)), items)) >= 0.99


def test_gradient_with_respect_to_hull_mass_and_inertia(x64):
  items = same_size(range(42), 12)
  x = np.concatenate([items.mass[:, None], items.inertia.reshape(-1, 9),
                      items.hull.reshape(-1, 36)], 1)
  loss = lambda x: losses.standability(Packed(
      x[10:].reshape(12, 3), x[0], jnp.zeros(3), x[1:10].reshape(3, 3), 0.0))
  assert np.median(cosines(loss, x)) >= 0.99


def test_gradient_with_respect_to_the_vertices_of_a_mesh(x64):
  rng, box = np.random.default_rng(0), trimesh.creation.box((0.4, 0.5, 1.0))
  leaning = box.vertices + rng.uniform(-0.03, 0.03, (24, 8, 3))
  leaning[..., 0] += rng.uniform(0.3, 0.8, (24, 1)) * (box.vertices[:, 2] + 0.5)
  faces = np.array(box.faces)
  loss = lambda x: losses.standability(penalty.of_mesh(x.reshape(8, 3), faces, np.arange(8)))
  assert np.median(cosines(loss, leaning.reshape(24, 24))) >= 0.99


def test_of_mesh_is_the_body_of_the_mesh(x64):
  mesh = solids.random_solid(6)
  truth = body.from_mesh(mesh)
  corners = spatial.ConvexHull(mesh.vertices).vertices
  item = jax.jit(lambda v: penalty.of_mesh(v, mesh.faces, corners))(
      np.asarray(mesh.vertices, float))
  for name in ('mass', 'center', 'inertia'):
    np.testing.assert_allclose(getattr(item, name), getattr(truth, name), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(np.sort(item.hull, 0), np.sort(truth.hull - truth.center, 0),
                             atol=1e-6)


def test_a_gradient_that_is_not_finite_is_zero():
  slope = jax.jit(jax.grad(lambda x: jnp.sum(jnp.sqrt(worlds.finite_gradients(x)))))
  np.testing.assert_array_equal(slope(np.float32([4.0, 0.0])), [0, 0])
  np.testing.assert_array_equal(slope(np.float32([4.0, 1.0])), [0.25, 0.5])
  broken = item_of(BOX).replace(inertia=jnp.full((3, 3), jnp.nan))
  value, gradient = jax.jit(jax.value_and_grad(losses.standability))(broken)
  assert value == 0 and all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))

"""MJX in batches against stock MJX of one body, C MuJoCo, closed forms and finite differences.

The tests of whole simulations share one shape, so that they compile once.
"""

import jax
import jax.numpy as jnp
import mujoco
from mujoco import mjx
import numpy as np
import pytest
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, mjx_batch, native, native_batch

COUNT = 8
TILTS = np.array([(0.0, 0.0, 0.0), (0.0, 0.3, 0.0), (-0.02, 0.01, 0.0)])


def mesh_of(points):
  surface = trimesh.convex.convex_hull(np.asarray(points))
  return Mesh(surface.vertices, surface.faces)


def solid(seed):
  """By turns a blob, and a lump on a foot of four corners that are not quite level."""
  rng = np.random.default_rng(seed)
  if seed % 2:
    return mesh_of(rng.normal(size=(14, 3)) * rng.uniform(0.2, 0.5, 3))
  foot = [(x, y, rng.uniform(0, 0.01)) for x in (-0.25, 0.3) for y in (-0.3, 0.25)]
  top = rng.normal(size=(10, 3)) * (0.2, 0.2, 0.1) + (*rng.normal(size=2) * 0.15, 0.6)
  return mesh_of(np.concatenate([foot, top]))


BODIES = body.pack([solid(seed) for seed in range(COUNT)], hull_vertices=16)
[(_, PACKED)] = BODIES.buckets
BOX = body.pack([mesh_of([(x, y, z) for x in (-0.25, 0.25) for y in (-0.5, 0.5)
                          for z in (0.0, 1.0)])] * COUNT).buckets[0][1]


@pytest.mark.slow
def test_agrees_with_mujoco():
  result = mjx_batch.simulate(PACKED, TILTS)
  truth = native_batch.simulate(BODIES, TILTS, timestep=4e-3)
  stands = truth.rotation_deg < 20
  np.testing.assert_array_equal(result.rotation_deg < 20, stands)
  assert 4 <= stands.sum() <= 20 and not result.diverged.any() and result.settled.all()
  difference = np.abs(result.rotation_deg - truth.rotation_deg)[stands]
  assert np.median(difference) < 0.05 and difference.max() < 2  # rocking turns them about z a bit
  np.testing.assert_allclose(result.position[stands], truth.position[stands], atol=0.02)


@pytest.mark.slow
def test_one_compilation_serves_a_bucket(monkeypatch):
  """Other bodies, tilts, times, steps and friction; and a count that no device divides."""
  first = mjx_batch.simulate(PACKED, TILTS, seconds=1.0)
  with monkeypatch.context() as patch:
    patch.setattr(jax._src.compiler, 'compile_or_get_cached',
                  lambda *args, **kwargs: pytest.fail('compiled again'))
    mjx_batch.simulate(BOX, 2 * TILTS, seconds=0.5, timestep=2e-3, friction=0.3)
    fewer = mjx_batch.simulate(jax.tree.map(lambda x: x[:7], PACKED), TILTS, seconds=1.0)
  np.testing.assert_array_equal(fewer.quaternion, first.quaternion[:7])


@pytest.mark.slow
def test_tilted_box():
  """It goes back to its foot below atan(0.5) = 26.57 degrees, and on to its side above."""
  tilts = np.deg2rad([(0, 25.5, 0), (0, -27.5, 0), (0, 0, 40.0)])
  result = mjx_batch.simulate(BOX, tilts)
  np.testing.assert_allclose(result.rotation_deg, np.tile((0, 90, 40), (COUNT, 1)), atol=0.1)
  edge = 0.25 * np.cos(tilts[0, 1]) - 0.5 * np.sin(tilts[0, 1])  # it lands without sliding
  back = np.tile((edge - 0.25, 0, 0.5), (COUNT, 1))
  np.testing.assert_allclose(result.position[:, 0], back, atol=2e-3)
  np.testing.assert_allclose(result.position[:, 1, 2], 0.25, atol=2e-3)
  assert result.settled.all()


def test_release_touches_the_plane():
  result = mjx_batch.simulate(PACKED, TILTS, seconds=4e-3)
  for i, item in enumerate(BODIES.items):
    for j, tilt in enumerate(TILTS):
      data = native.release(native.compile_model(item), item, tilt)
      np.testing.assert_allclose(result.position[i, j], data.qpos[:3], atol=1e-3)  # a step later
      np.testing.assert_allclose(result.quaternion[i, j], data.qpos[3:], atol=1e-3)


def test_without_friction_nothing_moves_sideways():
  tilts = np.array([(0.0, 0.7, 0.0)] * 3)
  slip, grip = (mjx_batch.simulate(BOX, tilts, seconds=1.0, friction=f).position[..., 0]
                for f in (0.01, 1.0))
  assert np.abs(slip).max() < 0.02 < 0.2 < np.abs(grip).min()


def test_invalid_and_diverging_bodies_change_no_other():
  plain = mjx_batch.simulate(PACKED, TILTS, seconds=1.0)
  bad = {3: {'hull': np.nan}, 4: {'mass': np.inf}, 6: {'inertia': np.nan}}
  packed = PACKED
  for i, change in bad.items():
    for name, factor in change.items():
      column = getattr(packed, name).copy()
      column[i] *= factor
      packed = packed.replace(**{name: column})
  result = mjx_batch.simulate(packed, TILTS, seconds=1.0)
  others = [i for i in range(COUNT) if i not in bad]
  np.testing.assert_array_equal(result.diverged.all(1), [i in bad for i in range(COUNT)])
  assert np.isnan(np.asarray(result.rotation_deg)[list(bad)]).all()
  np.testing.assert_array_equal(result.quaternion[np.array(others)],
                                plain.quaternion[np.array(others)])
  wild = mjx_batch.simulate(BOX, TILTS + (0.0, 0.5, 0.0), seconds=10.0, timestep=0.5)
  assert wild.diverged.all() and not wild.settled.any()


def test_equals_stock_mjx(x64):
  """All that MJX reads of a body is replaced: hull, mass, inertia, friction, time step."""
  item = body.from_mesh(mesh_of(np.random.default_rng(2).normal(size=(9, 3)) * (0.4, 0.3, 0.2)))
  assert abs(item.inertia[0, 1]) > 0.3 * item.inertia[0, 0]
  [(_, packed)] = body.pack([item]).buckets
  model = native.compile_model(item, 3e-3, friction=0.4)
  model.opt.iterations, model.opt.ls_iterations = 4, 8
  model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_EULERDAMP
  data = native.release(model, item, (0.2, -0.1, 0.4))
  data.qpos[2] -= 1e-3  # in contact, whatever the vertices are rounded to
  data.qvel[:] = 1, 0, 0, 0, 2, 1
  figures = (jnp.asarray(x[0]) for x in (packed.hull, packed.mass, packed.inertia))
  step = jax.jit(mjx_batch._step)
  with jax.numpy_rank_promotion('allow'):
    stock = mjx.put_model(model), mjx.put_data(model, data)
    ours = jax.jit(lambda *figures: mjx_batch._model(*figures, 3e-3, 0.4, 4, 8))(*figures)
    expected = result = jnp.array(data.qpos), jnp.array(data.qvel), jnp.zeros(6)
    for _ in range(60):
      expected, result = step(*stock, expected), step(*ours, result)
  assert np.abs(expected[0] - data.qpos).max() > 0.1
  for a, b in zip(result, expected):
    np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)  # MuJoCo rounds vertices to float32


def test_mjx_keeps_the_hull_where_we_replace_it():
  """Contacts are with the new vertices. If this fails, MJX has moved a private field."""
  hull = np.float32([(0.3, 0.0, -1.0), (-0.3, 0.3, -1.0005), (-0.3, -0.3, -1.0), (0.0, 0.0, 1.0),
                     (0.1, 0.0, -0.9)])
  model, data = jax.tree.map(jnp.asarray, mjx_batch._template(4, 8, False))
  assert model._impl.mesh_convex[0].vert.shape == (4, 3), 'MJX keeps it elsewhere'

  @jax.jit
  def contacts(model, data, hull):
    with jax.numpy_rank_promotion('allow'):
      model = mjx_batch.with_hull(model, hull)
      contact = mjx.collision(model, mjx.kinematics(model, data))._impl.contact
      return contact.dist, contact.pos

  distance, position = map(np.asarray, contacts(
      model, data.replace(qpos=np.float32([0, 0, 0.9, 1, 0, 0, 0])), hull))
  touching = distance < 0
  points = position[touching]
  np.testing.assert_allclose(np.sort(distance[touching]), (-0.1005, -0.1, -0.1), atol=1e-6)
  np.testing.assert_allclose(points[np.lexsort(points.T[:2])][:, :2],
                             hull[:3][np.lexsort(hull[:3].T[:2])][:, :2], atol=1e-6)


@pytest.mark.slow
def test_rollout_is_the_simulation(x64):
  """K = 4 solver calls against as many iterations as MuJoCo wants."""
  item = jax.tree.map(lambda x: x[1], PACKED)
  quaternion, position = jax.jit(lambda i: mjx_batch.rollout(i, TILTS[1], seconds=0.4))(item)
  drop = native.drop(BODIES.items[1], 0.4, 4e-3, tilt=TILTS[1])
  assert 1.0 < drop.rotation_deg < 90
  np.testing.assert_allclose(quaternion, drop.quaternion, atol=1e-3)
  turn = trimesh.transformations.quaternion_matrix(drop.quaternion)[:3, :3]
  np.testing.assert_allclose(position, drop.position + turn @ BODIES.items[1].center, atol=1e-3)


@pytest.mark.slow
def test_gradients_equal_central_differences(x64):
  """Of 1 - cos(tilt) after 0.3 s, with respect to the centre of mass and to single vertices."""
  def fallen(item, shift):
    quaternion, _ = mjx_batch.rollout(item.replace(hull=item.hull - shift[None]), seconds=0.3)
    return 2 * (quaternion[1]**2 + quaternion[2]**2)

  value = jax.jit(jax.vmap(fallen))
  values, (by_item, by_shift) = jax.jit(jax.vmap(jax.value_and_grad(fallen, (0, 1))))(
      jax.tree.map(jnp.asarray, PACKED), jnp.zeros((COUNT, 3)))
  step, moving = 1e-5, values > 1e-4
  assert moving.sum() >= 4
  slope = lambda hull, shift: (value(PACKED.replace(hull=PACKED.hull + hull), shift) - value(
      PACKED.replace(hull=PACKED.hull - hull), -shift)) / (2 * step)
  rows = jnp.eye(3)[:, None, :] * jnp.ones((1, COUNT, 1)) * step
  numeric = jnp.stack([slope(0.0, row) for row in rows], -1)
  cosine = (numeric * by_shift).sum(-1) / (jnp.linalg.norm(numeric, axis=-1)
                                           * jnp.linalg.norm(by_shift, axis=-1))
  assert jnp.median(cosine[moving]) > 0.9999
  random = np.random.default_rng(0).normal(size=PACKED.hull.shape)
  numeric = slope(step * random, jnp.zeros((COUNT, 3)))
  error = jnp.abs(numeric - (by_item.hull * random).sum((1, 2))) / jnp.abs(numeric)
  assert jnp.median(error[moving]) < 1e-3
  assert not jnp.any(by_item.mass) and not jnp.any(by_item.inertia)

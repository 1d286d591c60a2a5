"""Marching tetrahedra against a loop over tetrahedra, and spheres."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trimesh

from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.scene import base, dmtet

march = jax.jit(dmtet.march, static_argnums=(2, 3))
CENTER = np.array([0.05, -0.03, 0.02])


def ball(resolution, radius=0.6):
  """Signed distances [V] of a ball, positive inside."""
  return (radius - np.linalg.norm(dmtet.points(resolution) - CENTER, axis=-1)).astype(np.float32)


def surface(sdf, resolution, offsets=None):
  """The trimesh of a level set."""
  offsets = np.zeros((len(sdf), 3), np.float32) if offsets is None else offsets
  mesh = dmtet.to_mesh(march(sdf, offsets, resolution, dmtet.Capacity(4096, 16384, 32768)))
  return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def test_tetrahedra_are_alike_and_share_their_triangles():
  points, tets = dmtet.points(8), dmtet.tetrahedra(8)
  a, b, c, d = points[tets].astype(np.float64).transpose(1, 0, 2)
  volume = np.einsum('ti,ti->t', np.cross(b - a, c - a), d - a) / 6
  np.testing.assert_allclose(volume, (4 / 8)**3 / 12, rtol=1e-5)
  sides = np.sort([np.linalg.norm(points[tets[:, i]] - points[tets[:, j]], axis=-1)
                   for i, j in itertools.combinations(range(4), 2)], 0)
  np.testing.assert_allclose(sides.T, np.tile([np.sqrt(12)] * 4 + [4] * 2, (len(tets), 1)) / 8,
                             rtol=1e-5)
  mirrored = {tuple(sorted(map(tuple, (8 * points[t] * [1, -1, 1])[:, [2, 0, 1]]))) for t in tets}
  assert mirrored == {tuple(sorted(map(tuple, 8 * points[t]))) for t in tets}
  sides = np.sort(np.concatenate([tets[:, list(k)]
                                  for k in itertools.combinations(range(4), 3)]), 1)
  _, count = np.unique(sides, axis=0, return_counts=True)
  assert count.max() == 2 and (count == 1).sum() == 6 * 16 * 4 - 2 * 12 * 4


def cuts(sdf, place, resolution):
  """{tetrahedron: (area vector from inside to outside, its edges)} and {edge: point} by a loop."""
  polygons, points = {}, {}
  for tet in dmtet.tetrahedra(resolution).tolist():
    pairs = [(i, j) for i in tet for j in tet if sdf[i] > 0 >= sdf[j]]
    if not pairs:
      continue
    for i, j in pairs:
      points[i, j] = (place[i] * sdf[j] - place[j] * sdf[i]) / (sdf[j] - sdf[i])
    corner = np.array([points[pair] for pair in pairs])
    out = (place[[j for _, j in pairs]] - place[[i for i, _ in pairs]]).mean(0)
    normal = np.linalg.svd(corner - corner.mean(0))[2][2]
    normal *= np.sign(normal @ out)
    first = corner[0] - corner.mean(0)
    arms = corner - corner.mean(0)
    order = np.argsort(np.arctan2(np.cross(first, arms) @ normal, arms @ first))
    around = arms[order]
    area = 0.5 * np.cross(around, np.roll(around, -1, 0)).sum(0)
    polygons[tuple(sorted(tet))] = area, set(pairs)
  return polygons, points


@pytest.mark.parametrize('seed', [0, 1])
def test_random_values_give_the_surface_of_a_loop(seed):
  rng = np.random.default_rng(seed)
  count = len(dmtet.points(8))
  sdf = rng.uniform(-1, 1, count).astype(np.float32)
  offsets = rng.normal(0, 1, (count, 3)).astype(np.float32)
  mesh = surface(sdf, 8, offsets)
  assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
  border = np.abs(dmtet.points(8)).max(-1) > 1 - 3 / 8
  closed = np.where(border, -np.abs(sdf), sdf).astype(np.float64)
  place = dmtet.points(8) + np.tanh(offsets.astype(np.float64)) / 8
  polygons, points = cuts(closed, place, 8)
  keys, places = list(points), np.array(list(points.values()))
  gap, nearest = trimesh.proximity.cKDTree(places).query(mesh.vertices)
  assert len(mesh.vertices) == len(places) == len(set(nearest)) and gap.max() < 1e-3 / 8 * 4
  area = dict.fromkeys(polygons, 0.0)
  for face, cross in zip(mesh.faces, mesh.triangles_cross, strict=True):
    pairs = {keys[nearest[i]] for i in face}
    tet = tuple(sorted({i for pair in pairs for i in pair}))
    assert pairs <= polygons[tet][1]
    area[tet] = area[tet] + 0.5 * cross
  np.testing.assert_allclose([area[t] for t in polygons], [polygons[t][0] for t in polygons],
                             atol=1e-4)


def test_volume_and_area_of_a_ball_converge_at_second_order():
  errors = []
  for resolution in (12, 24, 48):
    mesh = surface(ball(resolution), resolution)
    assert mesh.is_watertight and mesh.euler_number == 2
    errors.append([1 - mesh.volume / (4 / 3 * np.pi * 0.6**3),
                   1 - mesh.area / (4 * np.pi * 0.6**2)])
  order = np.log2(np.divide(errors[:-1], errors[1:]))
  assert (np.abs(order - 2) < 0.2).all() and errors[-1][0] < 0.006, (order, errors)


def test_values_that_are_positive_outside_are_passed_negated():
  solid, hollow = surface(ball(16), 16), surface(-ball(16), 16)
  box = surface(np.maximum(-ball(16), 0.1), 16)
  for mesh in (solid, hollow, box):
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0
  np.testing.assert_allclose(solid.volume + hollow.volume, box.volume, rtol=3e-3)
  assert box.volume > 0.5 * 8


def test_values_of_zero_leave_the_surface_closed():
  sdf = np.round(4 * ball(12)).astype(np.float32)  # many vertices lie on the level
  assert (sdf == 0).sum() > 50
  mesh = surface(sdf, 12)
  assert mesh.is_watertight and mesh.volume > 0 and mesh.area_faces.min() > 0


def test_gradients_are_those_of_differences(x64):
  rng = np.random.default_rng(3)
  sdf = ball(8).astype(np.float64) + rng.normal(0, 0.02, len(ball(8)))
  offsets, size = rng.normal(0, 1, (len(sdf), 3)), dmtet.capacity(sdf, 8)
  weight = rng.normal(size=(size.vertices, 3))
  value = jax.jit(lambda s, o: jnp.sum(jnp.sin(3 * dmtet.march(s, o, 8, size).vertices) * weight))
  slope = jax.jit(jax.grad(value, (0, 1)))(sdf, offsets)
  ds, do = rng.normal(size=sdf.shape), rng.normal(size=offsets.shape)
  for a, b in ((ds, 0 * do), (0 * ds, do)):
    step = 1e-6
    want = (value(sdf + step * a, offsets + step * b)
            - value(sdf - step * a, offsets - step * b)) / (2 * step)
    np.testing.assert_allclose(np.vdot(slope[0], a) + np.vdot(slope[1], b), want, rtol=1e-5)


def thickness(share, seed=0):
  """Smallest volume of a tetrahedron, over the mean, whose vertices are moved by `share` / r along
  each axis."""
  rng, tets = np.random.default_rng(seed), dmtet.tetrahedra(8)
  low = np.inf
  for _ in range(20):
    place = dmtet.points(8) + share / 8 * rng.choice([-1.0, 1.0], dmtet.points(8).shape)
    a, b, c, d = place[tets].transpose(1, 0, 2)
    low = min(low, np.einsum('ti,ti->t', np.cross(b - a, c - a), d - a).min() / 6)
  return low / ((4 / 8)**3 / 12)


def test_offsets_invert_no_tetrahedron():
  assert thickness(0.99) > 0 > thickness(1.05)  # the bound is as large as it can be


def test_lists_that_are_too_short_are_reported():
  sdf = ball(12)
  size = dmtet.capacity(sdf, 12)
  zero = np.zeros((len(sdf), 3), np.float32)
  needs = march(sdf, zero, 12, size).needs
  assert (np.asarray(needs) * 1.5 <= np.array(size)).all() and needs[2] == 2 * needs[1] - 4
  for k in range(3):
    small = size._replace(**{dmtet.Capacity._fields[k]: int(needs[k]) - 2})
    got = march(sdf, zero, 12, small)
    assert got.overflow >= 2
    with pytest.raises(MeshError, match='compute its capacity'):
      dmtet.to_mesh(got)
  with pytest.raises(MeshError, match='empty'):
    dmtet.capacity(-np.ones_like(sdf), 12)
  with pytest.raises(MeshError, match='empty'):
    dmtet.to_mesh(march(-np.ones_like(sdf), zero, 12, size))
  with pytest.raises(ConfigError, match='even resolution'):
    dmtet.points(9)


def field(density):
  """A query whose density is a function of the distance to CENTER, times params."""
  def query(params, xyz, frac):
    value = params * density(jnp.linalg.norm(xyz - jnp.broadcast_to(CENTER, xyz.shape), axis=-1))
    return base.Sample(value, jnp.ones(xyz.shape))
  return query


def test_a_trained_field_gives_its_surface():
  steep = field(lambda d: jnp.exp(30 * (0.5 - d)))  # density 1 at 0.5, 20 at 0.4, 3e6 inside
  sdf = dmtet.from_field(steep, jnp.float32(1.0), 32, level=2.5)
  assert sdf.dtype == np.float32 and np.abs(sdf).max() == 1
  radius = np.linalg.norm(surface(sdf, 32).vertices - CENTER, axis=-1)
  np.testing.assert_allclose(radius, 0.5 - np.log(2.5) / 30, atol=0.02)
  sdf = dmtet.from_field(steep, jnp.float32(1.0), 32)  # the level of its silhouettes
  radius = np.linalg.norm(surface(sdf, 32).vertices - CENTER, axis=-1)
  assert radius.std() < 0.01 and 0.3 < radius.mean() < 0.5


@pytest.mark.parametrize('density, message', [
    (lambda d: 0.01 + 0 * d, 'no view is opaque'),
    (lambda d: 0 * d, 'no view is opaque'),
    (lambda d: 5 + 0 * d, 'fog'),
    (lambda d: jnp.where(jnp.abs(d - 0.02) < 0.005, 1e4, 0.0), 'no surface')])
def test_a_field_without_a_surface_is_an_error(density, message):
  with pytest.raises(MeshError, match=message):
    dmtet.from_field(field(density), jnp.float32(1.0), 16)


def test_eikonal_term_of_known_functions():
  points = dmtet.points(16).astype(np.float32)
  eikonal = jax.jit(dmtet.eikonal, static_argnums=1)
  for axis in range(3):
    assert eikonal(points[:, axis], 16) < 1e-9
  np.testing.assert_allclose(eikonal(points @ np.float32([2, -1, 2]), 16), 4.0, rtol=1e-5)
  slope = jax.jit(jax.grad(dmtet.eikonal), static_argnums=1)(np.zeros(len(points), np.float32), 16)
  assert np.isfinite(slope).all()


def test_fitted_distances_have_unit_slope_and_the_zero_level_of_a_sphere():
  resolution, want = 16, ball(16)
  start = np.clip(5 * want, -0.7, 0.7) + np.random.default_rng(0).normal(0, 0.1, want.shape)
  start = start.astype(np.float32)
  size, zero = dmtet.capacity(start, resolution, 2.0), np.zeros((len(want), 3), np.float32)

  def loss(sdf):
    mesh = dmtet.march(sdf, zero, resolution, size)
    radius = jnp.linalg.norm(mesh.vertices - CENTER[None], axis=-1)
    gap = jnp.where(mesh.vertex_mask, radius - 0.6, 0.0)
    return 20 * jnp.sum(gap**2) / mesh.vertex_mask.sum() + dmtet.eikonal(sdf, resolution)

  step = optax.adam(0.02)

  @jax.jit
  def fit(sdf):
    def body(_, state):
      sdf, moments = state
      update, moments = step.update(jax.grad(loss)(sdf), moments)
      return sdf + update, moments
    return jax.lax.fori_loop(0, 150, body, (sdf, step.init(sdf)))[0]
  fitted = fit(start)
  before, after = dmtet.eikonal(start, resolution), dmtet.eikonal(fitted, resolution)
  assert before > 1.0 and after < 0.02, (before, after)
  shell = np.abs(want) < 0.2
  assert np.abs(fitted - want)[shell].max() < 0.1
  radius = np.linalg.norm(surface(np.asarray(fitted), resolution).vertices - CENTER, axis=-1)
  assert np.abs(radius - 0.6).mean() < 0.01


def test_voids_and_small_parts_of_a_field_have_no_surface():
  """A ball with a hollow, and a small ball beside it: the surface is that of the ball alone."""
  def query(params, xyz, frac):
    radius = jnp.linalg.norm(xyz, axis=-1)
    above = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.85]), xyz.shape)
    beside = jnp.linalg.norm(xyz - above, axis=-1)
    solid = (radius < 0.6) & (radius > 0.25) | (beside < 0.12)
    return base.Sample(params * solid, jnp.ones(xyz.shape))
  sdf = dmtet.from_field(query, jnp.float32(20.0), 32, level=5.0)
  inside = np.linalg.norm(dmtet.points(32), axis=-1) < 0.6
  np.testing.assert_array_equal(sdf > 0, inside)

"""Bodies of concave, broken and odd meshes against trimesh, closed forms and each other."""

import numpy as np
import pytest
from scipy import optimize
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, hull
from jax3dgen.scene import voxels


def mesh_of(*surfaces):
  surface = trimesh.util.concatenate(surfaces) if len(surfaces) > 1 else surfaces[0]
  return Mesh(np.asarray(surface.vertices, np.float64), np.asarray(surface.faces))


def ball(radius=0.5, center=(0.0, 0.0, 0.0), inside_out=False):
  surface = trimesh.creation.icosphere(2, radius)
  surface.apply_translation(center)
  if inside_out:
    surface.invert()
  return surface


def box(center=(0.0, 0.0, 0.0), inside_out=False):
  surface = trimesh.creation.box((0.5, 1.0, 1.0))
  surface.apply_translation(center)
  if inside_out:
    surface.invert()
  return surface


def assert_same(result, expected, rtol=1e-9):
  np.testing.assert_allclose(result.mass, expected.mass, rtol=rtol)
  np.testing.assert_allclose(result.center, expected.center, atol=rtol)
  np.testing.assert_allclose(result.inertia, expected.inertia, atol=rtol * expected.mass)


def l_prism():
  outline = np.array([(0, 0), (1, 0), (1, 0.2), (0.2, 0.2), (0.2, 1), (0, 1)])
  vertices = np.concatenate([np.insert(outline, 2, 0.0, 1), np.insert(outline, 2, 0.4, 1)])
  cap = np.array([(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 5)])
  side = [((i, (i + 1) % 6, 6 + i), ((i + 1) % 6, 6 + (i + 1) % 6, 6 + i)) for i in range(6)]
  return Mesh(vertices, np.concatenate([cap[:, ::-1], cap + 6, np.array(side).reshape(-1, 3)]))


def test_l_prism_has_its_own_mass_and_not_that_of_its_hull():
  result = body.from_mesh(l_prism())
  assert result.status == 'exact' and result.note == ''
  np.testing.assert_allclose(result.mass, 144.0)
  np.testing.assert_allclose(result.center, (0.116 / 0.36, 0.116 / 0.36, 0.2))  # 0.3222
  assert len(result.hull) == 10  # the inner corner is not on the hull


def test_equals_trimesh_on_a_concave_solid():
  surface = trimesh.creation.torus(0.6, 0.2, major_sections=24, minor_sections=12)
  surface.apply_transform(trimesh.transformations.rotation_matrix(0.7, (1, 2, 3)))
  surface.apply_translation((3.0, -2.0, 1.0))
  result = body.from_mesh(mesh_of(surface), density=500.0)
  np.testing.assert_allclose(result.mass, 500 * surface.volume)
  np.testing.assert_allclose(result.center, surface.center_mass, atol=1e-12)
  np.testing.assert_allclose(result.inertia, 500 * surface.moment_inertia, atol=1e-7)
  assert {tuple(v) for v in np.round(result.hull, 9)} == {
      tuple(v) for v in np.round(surface.convex_hull.vertices, 9)}


@pytest.mark.parametrize('surface, note', [
    (box(inside_out=True), 'turned outside out'),
    (trimesh.Trimesh(box().vertices, box().faces[1:], process=False), 'holes filled'),
    (trimesh.Trimesh(box().vertices, box().faces[2:], process=False), 'holes filled'),
    (trimesh.Trimesh(box().vertices, np.concatenate([box().faces[:4, ::-1], box().faces[4:]]),
                     process=False), 'winding made consistent'),
    (trimesh.Trimesh(box().vertices, np.concatenate([box().faces, box().faces[3:5]]),
                     process=False), '2 repeated faces dropped'),
    (trimesh.Trimesh(box().triangles.reshape(-1, 3) + np.linspace(0, 1e-9, 36)[:, None],
                     np.arange(36).reshape(-1, 3), process=False), 'vertices welded'),
])
def test_repairs_restore_the_solid(surface, note):
  result = body.from_mesh(mesh_of(surface))
  assert result.status == 'repaired' and note in result.note
  assert_same(result, body.from_mesh(mesh_of(box())), rtol=1e-7)


def test_triangle_soup_and_unused_vertices_are_no_repair():
  surface = box()
  soup = Mesh(np.concatenate([surface.triangles.reshape(-1, 3), [(9.0, 9.0, np.nan)]]),
              np.concatenate([np.arange(36).reshape(-1, 3), [(3, 3, 4)]]))
  result = body.from_mesh(soup)
  assert result.status == 'exact'
  assert_same(result, body.from_mesh(mesh_of(surface)))


def test_shells():
  sphere, cavity, kernel = (4 / 3 * np.pi * r**3 for r in (0.5, 0.3, 0.1))
  scale = ball().volume / sphere  # the same for all balls
  cases = [
      ((ball(), ball(0.3, inside_out=True)), 'exact', sphere - cavity),
      ((ball(), ball(0.3, inside_out=True), ball(0.1)), 'exact', sphere - cavity + kernel),
      ((ball(inside_out=True), ball(0.3)), 'repaired', sphere - cavity),
      ((ball(), ball(0.3)), 'repaired', sphere),  # an inner shell of the wrong winding
      ((ball(), ball(center=(2, 0, 0))), 'exact', 2 * sphere),
      ((ball(), ball(0.3, (2, 0, 0), inside_out=True)), 'repaired', sphere + cavity),
  ]
  for surfaces, status, volume in cases:
    result = body.from_mesh(mesh_of(*surfaces))
    assert result.status == status, (result.status, result.note)
    np.testing.assert_allclose(result.mass, 1000 * volume * scale, rtol=1e-6)


def test_overlapping_shells_count_once():
  result = body.from_mesh(mesh_of(box(), box((0.25, 0.0, 0.0))))
  assert result.status == 'repaired' and '2 shells united' in result.note
  np.testing.assert_allclose(result.mass, 750.0)
  np.testing.assert_allclose(result.center, (0.125, 0, 0), atol=1e-9)


def test_a_surface_that_bounds_no_solid_gets_its_hull():
  surface = box()
  fin = Mesh(np.concatenate([surface.vertices, [(0, 0, 0)]]),
             np.concatenate([surface.faces, [(0, 3, 8)]]))
  result = body.from_mesh(fin)
  assert result.status == 'hull' and 'cannot be closed' in result.note
  assert_same(result, body.from_mesh(mesh_of(surface)))


@pytest.mark.parametrize('factor', [1e-9, 1e9, 1e30])
def test_absurd_scales_are_brought_to_size_one(factor):
  surface = trimesh.creation.box((0.5, 1.0, 1.0))
  result = body.from_mesh(Mesh(surface.vertices * factor, surface.faces))
  assert result.status == 'exact' and 'scaled' in result.note
  np.testing.assert_allclose(result.scale * factor, 1.0)
  assert_same(result, body.from_mesh(mesh_of(surface)))


def test_figures_far_from_the_origin_lose_no_precision():
  here = body.from_mesh(mesh_of(ball()))
  there = body.from_mesh(mesh_of(ball(center=(1e5, -1e5, 1e5))))
  np.testing.assert_allclose(there.mass, here.mass, rtol=1e-8)
  np.testing.assert_allclose(there.center, (1e5, -1e5, 1e5), rtol=1e-12)
  np.testing.assert_allclose(there.inertia, here.inertia, atol=1e-5)


TRIANGLE = np.array([(0.0, 0, 0), (1, 0, 0), (0, 1, 0)])


@pytest.mark.parametrize('broken, reason', [
    (Mesh(TRIANGLE, np.array([(0, 1, 2)])), 'flat'),
    (Mesh(TRIANGLE, np.zeros((0, 3), int)), 'no faces'),
    (Mesh(TRIANGLE, np.array([(0, 1, 1)])), 'degenerate'),
    (Mesh(TRIANGLE * 0, np.array([(0, 1, 2)])), 'degenerate'),
    (Mesh(TRIANGLE, np.array([(0, 1, 2), (0, 2, 1)])), 'flat'),
    (mesh_of(trimesh.creation.box((1, 1, 0))), 'flat'),
    (Mesh(TRIANGLE * np.nan, np.array([(0, 1, 2)])), 'not finite'),
    (Mesh(TRIANGLE, np.array([(0, 1, 3)])), 'name vertex 3'),
])
def test_what_is_no_body_is_refused(broken, reason):
  with pytest.raises(MeshError, match=reason):
    body.from_mesh(broken)


def test_pack_pads_into_buckets_and_keeps_small_hulls_whole():
  shapes = [trimesh.creation.box((1, 2, 3)), trimesh.creation.icosphere(subdivisions=1),
            trimesh.creation.icosphere(subdivisions=3)]
  shapes[1].apply_translation((3, 0, 0))
  packed = body.pack([mesh_of(s) for s in shapes], hull_vertices=64)
  assert [(list(index), p.hull.shape) for index, p in packed.buckets] == [
      ([0], (1, 16, 3)), ([1, 2], (2, 64, 3))]
  (_, small), (_, large) = packed.buckets
  np.testing.assert_allclose(np.unique(small.hull[0] + small.center[0], axis=0),
                             np.unique(shapes[0].vertices, axis=0))
  np.testing.assert_allclose(large.center[0], (3, 0, 0), atol=1e-9)
  assert small.error[0] == large.error[0] == 0 and len(packed.items[2].hull) == 642
  np.testing.assert_allclose(large.mass, [packed.items[1].mass, packed.items[2].mass])


@pytest.mark.parametrize('stretch', [(1, 1, 1), (1, 1, 30), (1, 0.02, 1)])
@pytest.mark.parametrize('count', [300, 5000])  # with and without a choice of candidates
def test_error_of_a_reduced_hull_is_the_largest_distance(count, stretch):
  """Against the nearest convex combination of the subset, by nonnegative least squares; and
  the choice is little worse than what looking at all vertices would give for a ball."""
  random = np.random.default_rng(count)
  points = random.normal(size=(count, 3))
  points /= np.linalg.norm(points, axis=1, keepdims=True)
  turn = trimesh.transformations.random_rotation_matrix(random.random(3))[:3, :3]
  vertices = points * stretch @ turn.T
  subset, error = hull.reduce(vertices, 48)
  assert len(np.unique(subset, axis=0)) == 48 and {*map(tuple, subset)} <= {*map(tuple, vertices)}
  weight = 1e4 * max(stretch)  # of the sum of the coefficients, which is one
  table = np.concatenate([subset.T, np.full((1, 48), weight)])
  distances = [optimize.nnls(table, np.append(vertex, weight))[1] for vertex in vertices]
  np.testing.assert_allclose(error, max(distances), rtol=1e-4)
  # 48 caps of a ball, of height h, cover it: 48 h / 2 >= 1, and a greedy choice needs some more.
  assert error < 3 * 2 / 48 * max(stretch)


def test_reduced_hull_errs_by_its_reported_error():
  whole = body.from_mesh(mesh_of(trimesh.creation.icosphere(subdivisions=4)))
  [(_, packed)] = body.pack([whole], hull_vertices=64).buckets
  direction = np.random.default_rng(0).normal(size=(20000, 3))
  direction /= np.linalg.norm(direction, axis=1, keepdims=True)
  support = lambda points: (points @ direction.T).max(0)
  error = support(whole.hull - whole.center) - support(packed.hull[0])
  assert error.min() > -1e-12
  assert 0.9 * packed.error[0] < error.max() <= packed.error[0] + 1e-12
  assert packed.error[0] < 0.06  # 64 evenly spread points leave about 0.05


@pytest.mark.parametrize('height', [0.0, 0.07, 0.3])
@pytest.mark.parametrize('solid', ['prism', 'cavity', 'two', 'torus'])
def test_a_surface_is_cut_without_its_cap(solid, height):
  """Equal to the body of the mesh that manifold3d cuts; a vertex of no face is ignored."""
  torus = trimesh.creation.torus(0.6, 0.2, major_sections=24, minor_sections=12)
  torus.apply_transform(trimesh.transformations.rotation_matrix(1.2, (1, 2, 3)))
  mesh = {'prism': l_prism(), 'cavity': mesh_of(box(), ball(0.2, (0, 0, 0.1), True)),
          'two': mesh_of(ball(0.3), ball(0.2, (0.6, 0.0, -0.2))), 'torus': mesh_of(torus)}[solid]
  mesh = mesh.replace(vertices=mesh.vertices + np.array([2.0, -1.0, 0.5]))
  expected = body.from_mesh(voxels.cut(mesh, height), 500.0)
  spare = mesh.replace(vertices=np.append(mesh.vertices, [[9.0, 9.0, -9.0]], 0))
  result = body.of_surface(spare, height, 500.0)
  assert_same(result, expected, 1e-5 if height else 1e-9)  # manifold3d has float32 vertices
  support = lambda points: (points @ trimesh.creation.icosphere(2).vertices.T).max(0)
  np.testing.assert_allclose(support(result.hull), support(expected.hull), atol=1e-5)
  assert result.status == 'exact'


def test_a_surface_without_a_rest_is_refused():
  with pytest.raises(MeshError, match='empty above'):
    body.of_surface(l_prism(), 0.5)
  flat = l_prism()
  with pytest.raises(MeshError, match='flat'):
    body.of_surface(flat.replace(vertices=flat.vertices * np.array([1.0, 0.0, 1.0])))

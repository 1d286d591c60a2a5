"""Tidying and repair of large surfaces against trimesh, numpy and plain loops."""

import networkx
import numpy as np
import pytest
import trimesh

from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, surface


def torus():
  return trimesh.creation.torus(0.4, 0.1, major_sections=24, minor_sections=12)


def directed(faces):
  return {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1))}


@pytest.mark.parametrize('dtype', [np.int32, np.int64, np.float32, np.float64])
def test_distinct_rows_are_those_of_numpy(dtype):
  """In order of appearance, whatever the hash does; -0 is 0."""
  random = np.random.default_rng(0)
  rows = random.integers(-3, 4, (3000, 3)).astype(dtype)
  if dtype in (np.float32, np.float64):
    rows = rows * dtype(1e-3) * random.choice([1, -1], (3000, 1)).astype(dtype)
  first, kind = surface.distinct(rows)
  np.testing.assert_array_equal(rows[first][kind], rows)
  assert len(first) == len(np.unique(rows + 0, axis=0)) and (np.diff(first) > 0).all()
  assert all((rows[:i] != rows[i]).any(1).all() for i in first)


def test_distinct_rows_with_a_constant_hash(monkeypatch):
  rows = np.random.default_rng(0).integers(0, 9, (500, 3))
  monkeypatch.setattr(surface, 'MULTIPLIER', np.uint64(0))
  first, kind = surface.distinct(rows)
  np.testing.assert_array_equal(rows[first][kind], rows)
  assert len(first) == len(np.unique(rows, axis=0))


def test_compact_drops_what_no_face_uses():
  used, faces = surface.compact(np.array([(7, 2, 5), (5, 2, 9)]), 12)
  assert used.tolist() == [2, 5, 7, 9] and faces.tolist() == [[2, 0, 1], [1, 0, 3]]


def test_winding_is_made_consistent_as_by_trimesh():
  """Two shells with faces turned at random: each comes out as it was, or as a whole turned."""
  whole = trimesh.util.concatenate([torus(), trimesh.creation.icosphere(2, 0.3)])
  turned = whole.faces.copy()
  mask = np.random.default_rng(0).random(len(turned)) < 0.4
  turned[mask] = turned[mask, ::-1]
  expected = trimesh.Trimesh(whole.vertices, turned, process=False)
  trimesh.repair.fix_winding(expected)
  _, faces = surface._wind(whole.vertices, turned)
  assert surface.is_closed(faces) and not surface.is_closed(turned)
  for shell in (slice(0, len(torus().faces)), slice(len(torus().faces), None)):
    assert directed(faces[shell]) in (directed(expected.faces[shell]),
                                      directed(expected.faces[shell, ::-1]))
    assert directed(faces[shell]) in (directed(whole.faces[shell]),
                                      directed(whole.faces[shell, ::-1]))


@pytest.mark.parametrize('count, odd', [(40, 0), (41, 1)])
def test_rings_and_moebius_strips(count, odd):
  """Of an odd number of triangles a strip is one-sided: one edge stays run twice the same way."""
  strip = (np.arange(count)[:, None] + np.arange(3)) % count
  strip[::3] = strip[::3, ::-1]
  _, faces = surface._wind(np.zeros((count, 3)), strip)
  assert len(directed(faces)) == 3 * count - odd


def test_holes_are_filled_as_by_trimesh():
  """Stars of single vertices left out: planar or not, the same volume, closed."""
  whole = trimesh.creation.icosphere(3, 0.5)
  left = ~np.isin(whole.faces, (0, 40, 300, 641)).any(1)
  expected = trimesh.Trimesh(whole.vertices, whole.faces[left], process=False)
  trimesh.repair.fill_holes(expected, use_fan=True)
  vertices, faces = surface._fill_holes(whole.vertices, whole.faces[left])
  assert surface.is_closed(faces) and len(faces) == len(expected.faces)
  np.testing.assert_allclose(surface.signed_volume(vertices, faces), expected.volume, rtol=1e-4)


def test_holes_that_touch_are_filled():
  """Two stars left out whose rims share a vertex."""
  whole = trimesh.creation.icosphere(3, 0.5)
  links = networkx.from_edgelist(whole.edges_unique)
  apart = networkx.single_source_shortest_path_length(links, 100)
  other = next(v for v, steps in apart.items() if steps == 2 and len(
      set(links[v]) & set(links[100])) == 1)
  left = ~np.isin(whole.faces, (100, other)).any(1)
  _, faces = surface._fill_holes(whole.vertices, whole.faces[left])
  assert surface.is_closed(faces)
  result = body.from_mesh(Mesh(whole.vertices, whole.faces[left]))
  np.testing.assert_allclose(result.mass, 1000 * whole.volume, rtol=2e-2)


def test_dense_clusters_of_vertices_are_welded():
  """All pairs within the tolerance would be 2e8 here: a file must not be able to ask for them."""
  box = trimesh.creation.box()
  random = np.random.default_rng(0)
  crowd = box.vertices[0] + 1e-9 * random.random((20000, 3))
  faces = 8 + random.integers(0, 20000, (20000, 3))
  vertices, left = surface._weld(np.concatenate([box.vertices, crowd]),
                                   np.concatenate([box.faces[1:], faces]))
  assert len(vertices) == 8 and len(left) == 11


def test_vertices_are_welded_across_the_cells():
  """Wherever a cell ends, pairs within the tolerance become one and those beyond stay two."""
  places = np.random.default_rng(0).random((200, 3))
  near, far = places + (4e-7, -4e-7, 4e-7), places + (2e-6, 0, 0)
  faces = np.arange(600).reshape(3, 200).T
  vertices, left = surface._weld(np.concatenate([places, near, far]), faces)
  assert len(vertices) == 400 and len(left) == 0


def test_work_on_shells_is_bounded(monkeypatch):
  """The largest are united as ever; the others are added as they are, and it is said."""
  parts = [trimesh.creation.box((1, 1, 1)), trimesh.creation.box((0.5, 0.5, 0.5))]
  parts += [trimesh.creation.icosphere(1, 0.05 + 0.001 * k) for k in range(8)]
  parts[1].apply_translation((0.5, 0, 0))  # half of it sticks out
  for k, part in enumerate(parts[2:]):
    part.apply_translation((0, 0, 2 + k))
  whole = trimesh.util.concatenate(parts)
  mesh = Mesh(whole.vertices, whole.faces)
  expected = body.from_mesh(mesh)
  monkeypatch.setattr(surface, 'WORK', 3 * len(whole.faces))
  result = body.from_mesh(mesh)
  assert '10 shells united' in expected.note and '3 shells united' in result.note
  assert '7 smallest shells were added up' in result.note
  for name in ('mass', 'center', 'inertia'):
    np.testing.assert_allclose(getattr(result, name), getattr(expected, name), atol=1e-6)
  np.testing.assert_allclose(result.scale, expected.scale)


@pytest.mark.parametrize('stretch', [(1, 1, 1), (9, 1, 0.2), (1e-3, 1, 1)])
def test_hull_is_that_of_trimesh(stretch):
  """Its volume as well, which decides what counts as overlap: not that of any scaled copy."""
  cloud = np.random.default_rng(0).normal(size=(300, 3)) * stretch
  hull, expected = body._hull(cloud), trimesh.convex.convex_hull(cloud)
  shape = trimesh.Trimesh(hull.vertices, hull.faces, process=False)
  assert shape.is_watertight and shape.is_winding_consistent
  np.testing.assert_allclose((hull.volume, shape.volume), expected.volume)
  np.testing.assert_allclose(np.unique(hull.vertices, axis=0),
                             np.unique(expected.vertices, axis=0))


def test_vertices_that_weld_away_leave_no_body():
  """Needles whose short sides are below the tolerance: a hull with volume, but no surface."""
  tips = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1.0)])
  vertices = np.concatenate([tips, tips + 1e-8])
  faces = np.array([(0, 4, 1), (1, 5, 2), (2, 6, 3), (3, 7, 0)])
  with pytest.raises(body.MeshError, match='no volume'):
    body.from_mesh(Mesh(vertices, faces))

"""Repair of triangle meshes to closed, outward-oriented surfaces, for `physics.body`.

NumPy on vertices [V, 3] float64 and faces [F, 3] int64, in O(F log F) time and memory, for scans of
millions of faces. Axes: V vertices, F faces.
"""

import manifold3d
import numpy as np
from scipy import sparse, spatial

from jax3dgen.core.errors import MeshError
from jax3dgen.scene import mesh as meshes

TOLERANCE = 1e-6  # of distances (in extents) and of relative volumes
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd multiplier of the hash
WORK = 2 * 10**7  # shells x faces: limit of the boolean operations, which take minutes beyond


def distinct(rows):
  """(index [U] of the first of each kind of row, in that order; the kind [N] of each row [N, D]).

  np.unique(axis=0) in the order of first occurrence, ten times as fast: by a 64-bit hash, with a
  check for collisions.
  """
  rows = np.ascontiguousarray(rows, np.int64 if rows.dtype.kind in 'iu' else np.float64)
  key = np.zeros(len(rows), np.uint64)
  for column in (rows if rows.dtype == np.int64 else rows + 0.0).view(np.uint64).T:  # no -0.0
    key = (key ^ column) * MULTIPLIER
    key ^= key >> np.uint64(32)
  order = np.argsort(key)
  key = key[order]
  start = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
  first = np.minimum.reduceat(order, start)
  rank = np.argsort(first)
  kind = np.empty(len(rows), np.int64)
  kind[order] = np.repeat(np.argsort(rank), np.diff(start, append=len(rows)))
  first = first[rank]
  if not np.array_equal(rows[first][kind], rows):  # two kinds of row with one hash
    _, first, kind = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, kind.ravel()
  return first, kind


def compact(faces, count):
  """(indices of the vertices, of `count`, that faces [F, 3] use; faces with new indices)."""
  used = np.zeros(count, bool)
  used[faces] = True
  return np.flatnonzero(used), (np.cumsum(used) - 1)[faces]


def clean(vertices, faces):
  """(vertices, faces, notes) without unused and coincident vertices and degenerate faces.

  STL files and flat-shaded meshes repeat their vertices, so these are no changes of the surface.
  Repeated faces of the same winding are dropped as well: a change of the surface, with a note.
  """
  used, faces = compact(faces, len(vertices))
  first, same = distinct(vertices[used])
  vertices, faces = vertices[used[first]], _without_degenerate(same[faces])
  if not len(faces):
    raise MeshError('All faces of the mesh are degenerate.')
  turned = np.take_along_axis(faces, (np.argmin(faces, 1)[:, None] + np.arange(3)) % 3, 1)
  first = distinct(turned)[0]
  notes = [f'{len(faces) - len(first)} repeated faces dropped'] * (len(first) < len(faces))
  used, faces = compact(faces[first], len(vertices))
  return vertices[used], faces, notes


def close(vertices, faces):
  """(vertices, faces, notes) after the first repairs that close the surface, or after all."""
  notes = []
  for words, repair in (('vertices welded', _weld), ('winding made consistent', _wind),
                        ('holes filled', _fill_holes)):
    if is_closed(faces):
      break
    before = len(vertices), faces
    vertices, faces = repair(vertices, faces)
    if len(vertices) != before[0] or not np.array_equal(faces, before[1]):
      notes.append(words)
  return vertices, faces, notes


def is_closed(faces):
  """Whether each directed edge occurs as often as its reverse: then the volume is well defined."""
  count = faces.max(initial=0) + 1
  start, end = faces.ravel(), np.roll(faces, -1, 1).ravel()
  return np.array_equal(np.sort(start * count + end), np.sort(end * count + start))


def orient(vertices, faces):
  """(vertices, faces, notes) of a closed surface with outward faces and overlapping shells united.

  Of several shells, in the order of volume, one that is wound inwards and lies in the solid so far
  is a cavity; others add to the solid.
  """
  notes = []
  if signed_volume(vertices, faces) < 0:
    faces, notes = faces[:, ::-1], ['turned outside out']
  label = meshes.shells(faces, len(vertices))
  volumes = np.bincount(label, _cones(vertices, faces))
  if len(volumes) == 1:
    return vertices, faces, notes
  parts = np.split(faces[np.argsort(label, kind='stable')], np.cumsum(np.bincount(label))[:-1])
  largest_first = np.argsort(-np.abs(volumes), kind='stable')
  united, rest = np.split(largest_first, [max(WORK // len(faces), 2)])
  if len(rest):
    notes.append(f'the {len(rest)} smallest shells were added up as they are')
  solid = manifold3d.Manifold()
  for k in united:
    used, part = compact(parts[k] if volumes[k] > 0 else parts[k][:, ::-1], len(vertices))
    shell = manifold3d.Manifold(manifold3d.Mesh64(vertices[used], part.astype(np.uint64)))
    if shell.status() != manifold3d.Error.NoError:
      return vertices, faces, [*notes, 'shells that may overlap were added up']
    inside = volumes[k] < 0 and (shell - solid).volume() < TOLERANCE * shell.volume()
    solid = solid - shell if inside else solid + shell
  if abs(solid.volume() - volumes[united].sum()) <= TOLERANCE * solid.volume():
    return vertices, faces, notes
  solid = solid.to_mesh64()
  others = faces[np.isin(label, rest)]
  places, triangles = solid.vert_properties[:, :3], solid.tri_verts.astype(np.int64)
  return (np.concatenate([places, vertices]), np.concatenate([triangles, others + len(places)]),
          [*notes, f'{len(united)} shells united'])


def above(triangles):
  """(the triangles of [F, 3, 3] with all corners at z > 0, the parts at z >= 0 of those that cross
  z = 0), all of the same orientation."""
  over = triangles[..., 2] > 0
  count, pieces = over.sum(1), []
  for k in (1, 2):  # of k vertices above; the one that differs from the two others becomes a
    rows = np.flatnonzero(count == k)
    first = np.argmax(over[rows] == (k == 1), 1)
    a, b, c = (triangles[rows, (first + i) % 3] for i in range(3))
    ab, ac = (a + (p - a) * (a[:, 2:] / (a[:, 2:] - p[:, 2:])) for p in (b, c))
    pieces += ([np.stack([a, ab, ac], 1)] if k == 1 else
               [np.stack([ab, b, c], 1), np.stack([ab, c, ac], 1)])
  return triangles[count == 3], np.concatenate(pieces)


def signed_volume(vertices, faces):
  """The volume of a closed surface, negative where its faces point inwards."""
  return _cones(vertices, faces).sum()


def _cones(vertices, faces):
  """Signed volumes [F] of the tetrahedra between the origin and each face."""
  a, b, c = np.moveaxis(vertices[faces], 1, 0)
  return np.einsum('fi,fi->f', a, np.cross(b, c)) / 6


def _weld(vertices, faces):
  """(vertices, faces) with vertices closer than about TOLERANCE (at extent 1) merged."""
  cells, place = distinct(np.floor(vertices / TOLERANCE).astype(np.int64))  # bounds the pairs
  i, j = spatial.cKDTree(vertices[cells]).query_pairs(TOLERANCE, output_type='ndarray').T
  same = _components(i, j, len(cells))[place]
  first = np.unique(same, return_index=True)[1]
  return vertices[first], _without_degenerate(same[faces])


def _components(i, j, count):
  """Labels [count] of the connected components of a graph with edges (i, j)."""
  link = sparse.coo_matrix((np.ones(len(i), np.int8), (i, j)), (count, count))
  return sparse.csgraph.connected_components(link, directed=False)[1]


def _edges(faces):
  """(start [3F], end [3F], order): edge k is of face k // 3; `order` lists the undirected edges
  that occur once, then the (first, second) of those that occur twice."""
  start, end = faces.ravel(), np.roll(faces, -1, 1).ravel()
  key = np.minimum(start, end) * (faces.max() + 1) + np.maximum(start, end)
  order = np.argsort(key)
  key = key[order]
  new = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
  times = np.diff(new, append=len(key))
  twice = new[times == 2]
  return start, end, order[new[times == 1]], order[twice], order[twice + 1]


def _wind(vertices, faces):
  """Faces flipped so that neighbours traverse their shared edge in opposite directions.

  Neighbours are visited in a breadth-first tree of each connected component from its first face.
  """
  count = len(faces)
  start, _, _, first, second = _edges(faces)
  i, j, odd = first // 3, second // 3, start[first] == start[second]
  root = np.unique(_components(i, j, count), return_index=True)[1]
  i, j = np.append(i, np.full(len(root), count)), np.append(j, root)
  link = sparse.coo_matrix((np.ones(len(i), np.int8), (i, j)), (count + 1, count + 1)).tocsr()
  parent = sparse.csgraph.breadth_first_order(link, count, directed=False)[1]
  parent[count] = count
  turn = np.zeros(count + 1, bool)  # against the parent, then against its parent, and so on
  for a, b in ((i, j), (j, i)):
    tree = np.flatnonzero(parent[a[:len(odd)]] == b[:len(odd)])
    turn[a[tree]] = odd[tree]
  while (parent != count).any():
    turn, parent = turn ^ turn[parent], parent[parent]
  return vertices, np.where(turn[:count, None], faces[:, ::-1], faces)


def _fill_holes(vertices, faces):
  """A triangle fan over each hole: a connected set of boundary edges with as many into each vertex
  as out of it."""
  start, end, once, _, _ = _edges(faces)
  start, end, count = start[once], end[once], len(vertices)
  label = _components(start, end, count)
  uneven = np.bincount(start, minlength=count) != np.bincount(end, minlength=count)
  apex = np.unique(label, return_index=True)[1]
  whole = np.bincount(label, uneven)[label[start]] == 0
  fan = np.stack([end, start, apex[label[start]]], 1)[whole]
  return vertices, np.concatenate([faces, _without_degenerate(fan)])


def _without_degenerate(faces):
  a, b, c = faces.T
  return faces[(a != b) & (b != c) & (c != a)]

"""A triangle mesh as a rigid body of uniform density.

On a plane a rigid body touches only with its convex hull, so a body is the hull's vertices plus the
mass, centre of mass and inertia of the true, possibly concave, solid. Everything is host work in
float64, in coordinates about the mesh's middle at unit size, so that neither tiny nor distant
meshes lose digits. Axes: V vertices, F faces, K hull vertices.

How well the solid is known is part of the body: 'exact' (closed, consistently wound: the figures
are those of the mesh as given), 'repaired' (of the mesh after the changes named in the note),
'hull' (the surface bounds no solid that could be found; the figures are those of the hull).
"""

from typing import NamedTuple

from flax import struct
import numpy as np
from scipy import spatial
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Array
from jax3dgen.physics import surface
from jax3dgen.physics.surface import TOLERANCE
from jax3dgen.scene import mesh as meshes

SIZES = (0.1, 10.0)  # largest extents that contact parameters (absolute lengths) are made for
DIRECTIONS = 4096  # in which a larger hull is looked at for the vertices to keep
CHUNK, PART = 2**11, 2**9  # hull vertices that are compared with all planes, and all triangles
BUCKETS = (16, 32)  # padded numbers of hull vertices below the largest one


@struct.dataclass
class Body:
  """A rigid body in the frame of its mesh, +z up, in the mesh's units times `scale`.

  hull [K, 3] vertices of the convex hull, mass [], center [3] of mass, inertia [3, 3] about it.
  `scale` is 1 unless the mesh is so small or large that it was brought to size 1; `note` says in
  words what was changed and why.
  """
  hull: Array
  mass: Array
  center: Array
  inertia: Array
  scale: float = struct.field(pytree_node=False, default=1.0)
  status: str = struct.field(pytree_node=False, default='exact')
  note: str = struct.field(pytree_node=False, default='')


@struct.dataclass
class Packed:
  """B bodies with hulls padded to V vertices, for engines that simulate them together.

  hull [B, V, 3] relative to the centre of mass (rows beyond a body's own repeat its first vertex),
  mass [B], center [B, 3] of mass in the frame of the mesh, inertia [B, 3, 3] about it; error [B] is
  the largest distance of a hull vertex left out from the hull that is kept (the largest error of
  the support function), 0 where none was.
  """
  hull: Array
  mass: Array
  center: Array
  inertia: Array
  error: Array


class _Hull(NamedTuple):
  vertices: np.ndarray
  faces: np.ndarray
  volume: float


class Bodies(NamedTuple):
  """M bodies with their full hulls, and the same in `buckets`: [(index [B] into M, Packed)]."""
  items: tuple
  buckets: tuple


def from_mesh(mesh, density=1000.0):
  """The Body of a Mesh (density in mass per cubed unit of length after scaling).

  Raises MeshError for what can be no body: no faces, coordinates that are not finite, indices out
  of range, a flat or empty solid.
  """
  vertices, faces = meshes.checked(mesh)
  vertices, faces, notes = surface.tidied(vertices, faces)
  low, high = vertices.min(0), vertices.max(0)
  extent = (high - low).max()
  if not extent > 0:
    raise MeshError('The mesh is a single point.')
  middle = 0.5 * (low + high)
  unit = (vertices - middle) / extent
  hull = _hull(unit)
  volume, center, inertia, status, more = _solid(unit, faces, hull)
  scale = 1.0 if SIZES[0] <= extent <= SIZES[1] else 1.0 / extent
  if scale != 1.0:
    more.append(f'scaled from extent {extent:.4g} to 1')
  length = extent * scale
  return Body(
      hull=hull.vertices * length + middle * scale, mass=density * volume * length**3,
      center=center * length + middle * scale, inertia=density * inertia * length**5,
      scale=float(scale), status='repaired' if notes and status == 'exact' else status,
      note='; '.join(notes + more))


def pack(meshes, hull_vertices=64, density=1000.0):
  """`Bodies` of Meshes (or of Body records, which are taken as they are)."""
  items = tuple(m if isinstance(m, Body) else from_mesh(m, density) for m in meshes)
  sizes = tuple(b for b in BUCKETS if b < hull_vertices) + (hull_vertices,)
  reduced = [_reduced(item.hull, hull_vertices) for item in items]
  bucket = np.searchsorted(sizes, [len(kept) for kept, _ in reduced])
  packed = []
  for k in np.unique(bucket):
    index = np.flatnonzero(bucket == k)
    pad = lambda i, size=sizes[k]: np.concatenate(
        [reduced[i][0], np.repeat(reduced[i][0][:1], size - len(reduced[i][0]), 0)])
    column = lambda name, index=index: np.stack([getattr(items[i], name) for i in index])
    center = column('center')
    packed.append((index, Packed(
        np.stack([pad(i) for i in index]) - center[:, None], column('mass'), center,
        column('inertia'), np.array([reduced[i][1] for i in index]))))
  return Bodies(items, tuple(packed))


def _hull(vertices):
  """The convex hull of vertices of extent 1: its vertices, its faces (outwards), its volume."""
  try:
    hull = spatial.ConvexHull(vertices, qhull_options='QbB Pp Qt')
  except spatial.QhullError as error:
    raise MeshError('The mesh is flat: its convex hull has no volume.') from error
  a, b, c = np.moveaxis(vertices[hull.simplices], 1, 0)
  inwards = np.einsum('fi,fi->f', np.cross(b - a, c - a), hull.equations[:, :3]) < 0
  used, faces = surface.compact(hull.simplices, len(vertices))
  faces[inwards] = faces[inwards, ::-1]
  volume = surface.signed_volume(vertices[used], faces)  # hull.volume is that of QbB's unit box
  if not volume > TOLERANCE**1.5:
    raise MeshError('The mesh is flat: its convex hull has no volume.')
  return _Hull(vertices[used], faces, volume)


def _solid(vertices, faces, hull):
  """Volume, centre of mass, inertia about it, status and notes at unit density."""
  vertices, faces, notes = surface.closed_up(vertices, faces)
  if not len(faces):
    raise MeshError('The surface of the mesh encloses no volume.')
  if not surface.is_closed(faces):
    return *_figures(hull.vertices, hull.faces), 'hull', ['the surface cannot be closed']
  vertices, faces, more = surface.oriented(vertices, faces)
  notes += more
  if not surface.signed_volume(vertices, faces) > TOLERANCE * hull.volume:
    raise MeshError('The surface of the mesh encloses no volume.')
  volume, center, inertia = _figures(vertices, faces)
  if volume > (1 + TOLERANCE) * hull.volume:
    return *_figures(hull.vertices, hull.faces), 'hull', ['the surface overlaps itself']
  return volume, center, inertia, 'repaired' if notes else 'exact', notes


def _figures(vertices, faces):
  found = trimesh.triangles.mass_properties(vertices[faces])
  return float(found.volume), found.center_mass, found.inertia


def _reduced(vertices, count):
  """(at most `count` of the hull's vertices, largest distance of the others from their hull).

  From a large tetrahedron on, the vertex furthest beyond the hull so far joins it. Of a large hull
  only those vertices are candidates that are the extreme ones in some of many directions.
  """
  if len(vertices) <= count:
    return vertices, 0.0
  directions = max(DIRECTIONS, 4 * count)
  some = vertices if len(vertices) <= directions else vertices[_extreme(vertices, directions)]
  kept = _tetrahedron(some)
  while len(kept) < min(count, len(some)):
    planes = spatial.ConvexHull(some[kept]).equations
    kept.append(int(np.argmax((some @ planes[:, :3].T + planes[:, 3]).max(1))))
  return some[kept], _beyond(vertices, some[kept])


def _extreme(vertices, count):
  """Indices of the extreme vertices in `count` directions, which are even where the vertices have
  the same spread along all axes: else long thin bodies would show their ends alone."""
  k = np.arange(count) + 0.5
  height, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
  across = np.sqrt(1 - height**2)
  even = np.stack([across * np.cos(angle), across * np.sin(angle), height])
  directions = np.linalg.solve(np.linalg.cholesky(np.cov(vertices.T)).T, even)  # [3, count]
  best, index = np.full(count, -np.inf), np.zeros(count, int)
  for start in range(0, len(vertices), CHUNK):
    value = directions.T @ vertices[start:start + CHUNK].T
    here = value.argmax(1)
    value = value[np.arange(count), here]
    index = np.where(value > best, start + here, index)
    best = np.maximum(value, best)
  return np.unique(index)


def _beyond(vertices, kept):
  """The largest distance of vertices [K, 3] from the hull of kept [k, 3].

  The triangle of the plane that a vertex is furthest beyond bounds its distance; all triangles are
  asked for the vertices with the largest bounds, until no bound exceeds what was found.
  """
  hull = spatial.ConvexHull(kept)
  triangles = kept[hull.simplices]
  bound = np.zeros(len(vertices))
  for start in range(0, len(vertices), CHUNK):
    part = vertices[start:start + CHUNK]
    above = part @ hull.equations[:, :3].T + hull.equations[:, 3]
    nearest = above.argmax(1)
    outside = np.flatnonzero(above[np.arange(len(part)), nearest] > 0)
    bound[start + outside] = _distances(part[outside], triangles[nearest[outside]])
  order, found = np.argsort(-bound), 0.0
  for start in range(0, len(order), PART):
    part = order[start:start + PART]
    if bound[part[0]] <= found:
      break
    part = part[bound[part] > 0]
    pairs = _distances(np.repeat(vertices[part], len(triangles), 0),
                       np.tile(triangles, (len(part), 1, 1)))
    found = max(found, pairs.reshape(len(part), -1).min(1).max())
  return float(found)


def _tetrahedron(vertices):
  """Indices of four vertices that span a volume: each the furthest from those before."""
  first = int(np.argmin(vertices[:, 2]))
  offset = vertices - vertices[first]
  second = int(np.argmax(np.linalg.norm(offset, axis=1)))
  normal = np.cross(offset, offset[second])
  third = int(np.argmax(np.linalg.norm(normal, axis=1)))
  fourth = int(np.argmax(np.abs(offset @ normal[third])))
  return [first, second, third, fourth]


def _distances(points, triangles):
  """The distance [N] of each point [N, 3] from its triangle [N, 3, 3]."""
  return np.linalg.norm(trimesh.triangles.closest_point(triangles, points) - points, axis=1)

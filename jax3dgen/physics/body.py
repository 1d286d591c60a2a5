"""Rigid bodies of uniform density from triangle meshes.

Contact with a plane involves only the convex hull, so a body is the hull's vertices plus the mass,
centre of mass and inertia of the true, possibly concave, solid. Everything is computed on the host
in float64, centred and scaled to unit extent, so that neither tiny nor distant meshes lose digits.
Axes: V vertices, F faces, K hull vertices.

`Body.status` is the source of these mass properties: 'exact' (the mesh, closed and consistently
wound), 'repaired' (the mesh after the changes in `Body.note`), 'hull' (the convex hull, where the
surface bounds no solid, or one with a centre of mass or an inertia that no body has), 'mjcf' (the
MJCF file, as MuJoCo compiles it).
"""

from typing import NamedTuple

import chex
from flax import struct
import numpy as np
from scipy import spatial

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Array
from jax3dgen.physics import hull as hulls
from jax3dgen.physics import surface
from jax3dgen.physics.surface import TOLERANCE
from jax3dgen.scene import mesh as meshes

SIZES = (0.1, 10.0)  # range of the largest extent for which contact parameters (lengths) are valid
SLIVER = 1e-9  # area of a hull's triangle, twice, below which it has no direction
BUCKETS = (16, 32)  # padded numbers of hull vertices below the largest one


@struct.dataclass
class Body:
  """A rigid body in the frame of its mesh, +z up, in the mesh's units times `scale`.

  hull [K, 3] vertices of the convex hull, mass [], center [3] of mass, inertia [3, 3] about it.
  `scale` is 1 unless the extent is outside SIZES, where the body is scaled to extent 1; `note`
  lists the changes in words.
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
  """B bodies with hulls padded to V vertices, for batched engines.

  hull [B, V, 3] relative to the centre of mass (padding repeats the first vertex), mass [B], center
  [B, 3] of mass in the frame of the mesh, inertia [B, 3, 3] about it; error [B] is the largest
  distance of an omitted vertex from the reduced hull (the largest error of the support function), 0
  where no vertex is omitted.
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
  """M bodies with their full hulls, and in `buckets` by size: [(index [B] into M, Packed)]."""
  items: tuple
  buckets: tuple


def from_mesh(mesh, density=1000.0):
  """The Body of a Mesh (density in mass per cubed unit of length after scaling).

  Raises MeshError for a mesh without faces, coordinates that are not finite, indices out of range,
  a flat or empty solid.
  """
  vertices, faces = meshes.checked(mesh)
  vertices, faces, notes = surface.clean(vertices, faces)
  low, high = vertices.min(0), vertices.max(0)
  extent = (high - low).max()
  if not extent > 0:
    raise MeshError('The mesh is a single point.')
  middle = 0.5 * (low + high)
  unit = (vertices - middle) / extent
  hull = _hull(unit)
  volume, center, inertia, status, more = _solid(unit, faces, hull)
  scale, scaling = _scale(extent)
  length = extent * scale
  return Body(
      hull=hull.vertices * length + middle * scale, mass=density * volume * length**3,
      center=center * length + middle * scale, inertia=density * inertia * length**5,
      scale=scale, status='repaired' if notes and status == 'exact' else status,
      note='; '.join(filter(None, [*notes, *more, scaling])))


def of_surface(mesh, height=0.0, density=1000.0):
  """The Body of a Mesh without its lowest `height`, closed there by a horizontal plane.

  As `from_mesh` of the mesh after `scene.voxels.cut`, but nothing is repaired: the Mesh must be
  closed, with faces outwards, and free of intersections, as a surface of marching cubes is. Several
  times as fast: the cap is not built, because about an origin in its plane it adds nothing to the
  integrals. MeshError where nothing is left, or it is flat.
  """
  vertices, faces = meshes.checked(mesh)
  used = np.bincount(faces.ravel(), minlength=len(vertices)) > 0
  low, high = vertices[used].min(0), vertices[used].max(0)
  origin = np.array([*0.5 * (low + high)[:2], low[2] + height])
  points, triangles = vertices[used] - origin, (vertices - origin)[faces]
  if height:
    whole, parts = surface.above(triangles)
    points, triangles = (np.concatenate([points[points[:, 2] > 0], parts.reshape(-1, 3)]),
                         np.concatenate([whole, parts]))
  if not len(triangles):
    raise MeshError('The mesh is empty above the cut.')
  extent = (points.max(0) - points.min(0)).max()
  scale, note = _scale(extent)
  length, status = extent * scale, 'exact'
  hull = _hull(points / extent)
  volume, center, inertia = _mass_properties(triangles / extent)
  if not (volume > TOLERANCE * hull.volume and _possible(volume, center, inertia, hull)):
    volume, center, inertia, status, _ = _of_hull(hull, '')
  return Body(
      hull=hull.vertices * length + origin * scale, mass=density * volume * length**3,
      center=center * length + origin * scale, inertia=density * inertia * length**5,
      scale=scale, status=status, note=note)


def of_points(points, mass, center, inertia):
  """The Body that touches the ground with the convex hull of points [K, 3], of the given mass [],
  center [3] of mass and inertia [3, 3] about it, all in the units of the points.

  Raises MeshError where there are no points, they lie in a plane, or there is no mass.
  """
  if not len(points):
    raise MeshError('No geom of the body collides with the ground.')
  if not (mass > 0 and np.linalg.eigvalsh(inertia)[0] > 0 and np.isfinite(points).all()):
    raise MeshError('The body has no mass or no inertia.')
  low, high = points.min(0), points.max(0)
  extent, middle = (high - low).max(), 0.5 * (low + high)
  if not extent > 0:
    raise MeshError('The body is a single point.')
  scale, note = _scale(extent)
  hull = _hull((points - middle) / extent).vertices * (extent * scale) + middle * scale
  return Body(hull, mass * scale**3, center * scale, inertia * scale**5, scale, 'mjcf', note)


def pack(meshes, hull_vertices=64, density=1000.0):
  """`Bodies` of Meshes or Body records, with hulls of at most `hull_vertices` in the buckets."""
  items = tuple(m if isinstance(m, Body) else from_mesh(m, density) for m in meshes)
  for item in items:
    chex.assert_shape([item.hull, item.inertia], [(None, 3), (3, 3)])
  sizes = tuple(b for b in BUCKETS if b < hull_vertices) + (hull_vertices,)
  reduced = [hulls.reduce(item.hull, hull_vertices) for item in items]
  bucket = np.searchsorted(sizes, [len(hull) for hull, _ in reduced])
  groups = []
  for k in np.unique(bucket):
    index = np.flatnonzero(bucket == k)
    pad = lambda i, size=sizes[k]: np.concatenate(
        [reduced[i][0], np.repeat(reduced[i][0][:1], size - len(reduced[i][0]), 0)])
    column = lambda name, index=index: np.stack([getattr(items[i], name) for i in index])
    center = column('center')
    groups.append((index, Packed(
        np.stack([pad(i) for i in index]) - center[:, None], column('mass'), center,
        column('inertia'), np.array([reduced[i][1] for i in index]))))
  return Bodies(items, tuple(groups))


def _scale(extent):
  """(scale, note) of a body of this extent."""
  if SIZES[0] <= extent <= SIZES[1]:
    return 1.0, ''
  return float(1.0 / extent), f'scaled from extent {extent:.4g} to 1'


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
  """(volume, centre of mass, inertia about it at unit density, status, notes) of a surface."""
  vertices, faces, notes = surface.close(vertices, faces)
  if not len(faces):
    raise MeshError('The surface of the mesh encloses no volume.')
  if not surface.is_closed(faces):
    return _of_hull(hull, 'the surface cannot be closed')
  vertices, faces, more = surface.orient(vertices, faces)
  notes += more
  if not surface.signed_volume(vertices, faces) > TOLERANCE * hull.volume:
    return _of_hull(hull, 'the surface cannot be closed around a volume')
  volume, center, inertia = _mass_properties(vertices[faces])
  if volume > (1 + TOLERANCE) * hull.volume:
    return _of_hull(hull, 'the surface overlaps itself')
  if not _possible(volume, center, inertia, hull):
    return _of_hull(hull, 'the closed surface has a centre of mass or an inertia that no body has')
  return volume, center, inertia, 'repaired' if notes else 'exact', notes


def _of_hull(hull, note):
  """As `_solid`, of the hull; MeshError where rounding leaves no possible body of it."""
  properties = _mass_properties(hull.vertices[hull.faces])
  if not _possible(*properties, hull):
    raise MeshError('The mesh is flat: its convex hull has almost no volume.')
  return *properties, 'hull', [note]


def _possible(volume, center, inertia, hull):
  """Whether a body inside the hull can have this centre of mass and this inertia about it.

  The centre is inside. Along each principal axis the variance s of the mass is positive (then the
  inertia is positive definite and A + B > C holds for its moments) and, in a body that reaches from
  -a to b of its centre, at most a b (Bhatia and Davis 2000).
  """
  a, b, c = np.moveaxis(hull.vertices[hull.faces], 1, 0)
  normal = np.cross(b - a, c - a)
  height = np.einsum('fi,fi->f', normal, center - a)[np.linalg.norm(normal, axis=1) > SLIVER]
  variance, axes = np.linalg.eigh(0.5 * np.trace(inertia) * np.eye(3) - inertia)
  reach = (hull.vertices - center) @ axes
  return bool((height < 0).all() and (variance > 0).all()
              and (variance <= -volume * reach.min(0) * reach.max(0)).all())


def _mass_properties(triangles):
  """(volume, centre of mass, inertia about it at unit density) of a closed surface [F, 3, 3].

  Sums over the tetrahedra between the origin and each triangle.
  """
  a, b, c = np.moveaxis(triangles, 1, 0)
  weight, total = np.einsum('fi,fi->f', a, np.cross(b, c)), a + b + c
  volume = weight.sum() / 6
  center = weight @ total / (24 * volume)
  moments = sum((weight[:, None] * x).T @ x for x in (a, b, c, total)) / 120
  moments -= volume * np.outer(center, center)
  return float(volume), center, np.trace(moments) * np.eye(3) - moments

"""Marching tetrahedra on a body-centred cubic grid: a mesh of fixed array sizes, under jit.

The grid of resolution r fills [-1, 1]^3. Its vertices are the points of the (r + 1)^3 lattice whose
three indices are all even (corners) or all odd (centres of the n^3 cells, n = r / 2); the
tetrahedra join two neighbouring centres with an edge of the face between them, 12 for each cell.
All are congruent, with dihedral angles of 60 and 90 degrees and edges of 4 / r and 3.46 / r, and
their pattern has the symmetry of the cube. Six tetrahedra per cube have the same number of edges
per vertex, but edges between 1 and 1.73, all along one diagonal, and four times as many vertices
on the same lattice. r = 64 has 68,705 vertices and 380,928 tetrahedra, r = 128 has 536,769 and
3,096,576: those of the published grids of these names, up to a factor of two.

Axes: V grid vertices (corners, then centres, both in the order x, y, z), M and F vertices and faces
of the surface, padded. The signed distance is positive inside; one that is positive outside is
passed negated. Faces are counter-clockwise from outside. Vertices at the border count as outside,
so that the surface is closed.
"""

import itertools
from typing import NamedTuple

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.core.types import Array, Mesh
from jax3dgen.scene import lists
from jax3dgen.scene import mesh as meshes

NUDGE = 1e-3  # share of an edge that keeps surface vertices apart from its ends
TINY = 1e-6  # smallest difference of signed distances along an edge that is divided by
LOG_RANGE = 3.0  # log densities are clipped at this distance from the level
ROUND = 1024  # sizes are multiples of this, so that few programs are compiled


class Capacity(NamedTuple):
  """Sizes of the lists of cells that the surface crosses, of its vertices and of its faces."""
  cells: int
  vertices: int
  faces: int


@struct.dataclass
class Surface:
  """A padded triangle mesh: vertices [M, 3] and faces [F, 3] int32, and what of them is valid.

  Padding faces are (0, 0, 0). `needs` [3] int32 are the lengths that the three lists of Capacity
  should have, `overflow` [] int32 how many entries did not fit; the surface is closed where it
  is 0.
  """
  vertices: Array
  faces: Array
  vertex_mask: Array
  face_mask: Array
  needs: Array
  overflow: Array


def _tables():
  """Tables of the cell: POINTS [12, 3] (twice the coordinates of the corners and four centres of
  the stencil), EDGES [14, 2] that a cell owns, TETS [12, 4], and for the six edges of each, the
  offset [12, 6, 3] of the cell that owns it, and its number [12, 6] there."""
  points = [tuple(2 * x for x in d) for d in itertools.product((0, 1), repeat=3)]
  points += [(1, 1, 1), (3, 1, 1), (1, 3, 1), (1, 1, 3)]
  edges = [(c, 8) for c in range(8)] + [(0, 4), (0, 2), (0, 1), (8, 9), (8, 10), (8, 11)]
  owner = {}
  for number, pair in enumerate(edges):
    for offset in itertools.product((0, 1), repeat=3):
      ends = frozenset(tuple(np.add(points[i], np.multiply(2, offset))) for i in pair)
      owner[ends] = (offset, number)
  tets = []
  for axis in range(3):
    face = [c for c in range(8) if points[c][axis] == 2]
    for a, b in itertools.combinations(face, 2):
      if np.abs(np.subtract(points[a], points[b])).sum() == 2:  # an edge, not a diagonal
        tet = [8, 9 + axis, a, b]
        sides = [np.subtract(points[i], points[8]) for i in tet[1:]]
        tets.append(tet if np.linalg.det(sides) > 0 else [8, 9 + axis, b, a])
  owners = [[owner[frozenset((points[tet[i]], points[tet[j]]))] for i, j in SIDES] for tet in tets]
  return (np.array(points), np.array(edges), np.array(tets),
          np.array([[offset for offset, _ in row] for row in owners]),
          np.array([[number for _, number in row] for row in owners]))


def _cases():
  """TRIANGLES [16, 2, 3]: edges (indices of SIDES) of the triangles of a tetrahedron of positive
  volume whose vertex i is inside where bit i of the case is set; COUNT [16] of them."""
  corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
  triangles, count = np.zeros((16, 2, 3), np.int32), np.zeros(16, np.int32)
  for case in range(1, 15):
    inside = [i for i in range(4) if case >> i & 1]
    outside = [i for i in range(4) if not case >> i & 1]
    if len(inside) == 2:
      (a, b), (c, d) = inside, outside
      ring = [(a, c), (a, d), (b, d), (b, c)]
    else:
      ring = [(a, b) for a in inside for b in outside]
    places = [0.5 * (corner[a] + corner[b]) for a, b in ring]
    normal = np.cross(places[1] - places[0], places[2] - places[0])
    if normal @ (corner[outside].mean(0) - corner[inside].mean(0)) < 0:
      ring.reverse()
    ring = [SIDES.index((min(pair), max(pair))) for pair in ring]
    count[case] = len(ring) - 2
    for k in range(count[case]):
      triangles[case, k] = ring[0], ring[k + 1], ring[k + 2]
  return triangles, count


SIDES = tuple(itertools.combinations(range(4), 2))  # the edges of a tetrahedron
POINTS, EDGES, TETS, OWNER_CELL, OWNER_EDGE = _tables()
TRIANGLES, COUNT = _cases()


def points(resolution):
  """Places [V, 3] float32 of the grid vertices, on the host."""
  n = _cells(resolution)
  box = lambda axis: np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), -1).reshape(-1, 3)
  corner, center = np.arange(n + 1) * 2 - n, np.arange(n) * 2 + 1 - n
  return (np.concatenate([box(corner), box(center)]) / n).astype(np.float32)


def tetrahedra(resolution):
  """The tetrahedra [T, 4] of the grid as indices of its vertices, on the host, of positive volume.
  """
  n = _cells(resolution)
  cell = np.stack(np.unravel_index(np.arange(n**3), (n, n, n)), -1)
  index = np.asarray(_stencil(cell, n))[:, TETS]
  exists = (cell[:, None, :] + POINTS[TETS[:, 1]][None] // 2 < n).all(-1)  # the other centre
  return index[exists]


def march(sdf, offsets, resolution, capacity):
  """The zero level of signed distances [V] on the grid with offsets [V, 3], as a Surface.

  Grid vertices lie at points + tanh(offsets) / r, RecDreamer's and ProlificDreamer's bound, within
  which no tetrahedron of this grid can invert. On an edge from a (inside) to b the surface vertex
  is (a s_b - b s_a) / (s_b - s_a). Differentiable with respect to both arguments through the places
  of vertices. Sizes are those of a Capacity, `capacity` or more; an overflow is counted in the
  result.
  """
  n = _cells(resolution)
  sdf, offsets = jnp.asarray(sdf), jnp.asarray(offsets)
  inside = jax.lax.stop_gradient(_closed(sdf, jnp.arange(len(sdf)), n)) > 0
  corner = inside[:(n + 1)**3].reshape(n + 1, n + 1, n + 1)
  center = jnp.pad(inside[(n + 1)**3:].reshape(n, n, n), (0, 1))
  part = lambda x, d: jax.lax.slice(x, d, tuple(i + n for i in d))
  stencil = [part(center if i > 7 else corner, tuple(p // 2)) for i, p in enumerate(POINTS)]
  some = jnp.stack(stencil).any(0)
  mixed = (some & ~jnp.stack(stencil).all(0)).reshape(-1)
  slot = jnp.cumsum(mixed.astype(jnp.int32)) - 1  # of a cell in the list
  cell, _, valid, cells = lists.expand(mixed.astype(jnp.int32), capacity.cells)
  cell = jnp.stack(jnp.unravel_index(cell, (n, n, n)), -1)
  index = _stencil(cell, n)
  crossing, case = _cut(inside[index] & valid[:, None])

  number = jnp.cumsum(crossing.reshape(-1).astype(jnp.int32)) - 1
  edge, _, vertex_mask, vertices = lists.expand(crossing.reshape(-1).astype(jnp.int32),
                                                capacity.vertices)
  ends = index[(edge // len(EDGES))[:, None], jnp.asarray(EDGES)[edge % len(EDGES)]]
  ends = jnp.where(inside[ends[:, :1]], ends, ends[:, ::-1])  # from inside to outside
  place = _points(ends, n) + jnp.tanh(offsets[ends]) / resolution
  value = _closed(sdf[ends], ends, n)
  cut = value[:, 0] / jnp.maximum(value[:, 0] - value[:, 1], TINY)
  cut = cut + jax.lax.stop_gradient(jnp.clip(cut, NUDGE, 1.0 - NUDGE) - cut)
  place = place[:, 0] + cut[:, None] * (place[:, 1] - place[:, 0])

  tet, which, face_mask, faces = lists.expand(jnp.asarray(COUNT)[case].reshape(-1), capacity.faces)
  side = jnp.asarray(TRIANGLES)[case.reshape(-1)[tet], which]  # [F, 3] of SIDES
  kind = (tet % len(TETS))[:, None]
  owner = cell[tet // len(TETS)][:, None, :] + jnp.asarray(OWNER_CELL)[kind, side]
  owner = slot[jnp.ravel_multi_index(tuple(jnp.moveaxis(owner, -1, 0)), (n, n, n), mode='clip')]
  corner = number[jnp.clip(owner, 0, capacity.cells - 1) * len(EDGES)
                  + jnp.asarray(OWNER_EDGE)[kind, side]]
  corner = jnp.where(face_mask[:, None], jnp.clip(corner, 0, capacity.vertices - 1), 0)
  needs = jnp.stack([cells, vertices, faces])
  overflow = jnp.maximum(needs - jnp.array(capacity, jnp.int32), 0).sum()
  return Surface(jnp.where(vertex_mask[:, None], place, 0.0), corner, vertex_mask, face_mask, needs,
                 overflow)


def capacity(sdf, resolution, slack=1.5):
  """The Capacity of the zero level of signed distances [V] with `slack` to grow, on the host.

  MeshError where the level set is empty.
  """
  n = _cells(resolution)
  index = np.asarray(_stencil(np.stack(np.unravel_index(np.arange(n**3), (n, n, n)), -1), n))
  inside = np.asarray(_closed(np.asarray(sdf), np.arange(len(sdf)), n)) > 0
  inside = inside[index]
  crossing, case = _cut(inside)
  needs = ((inside.any(1) & ~inside.all(1)).sum(), crossing.sum(), COUNT[np.asarray(case)].sum())
  if not needs[-1]:
    raise MeshError('The level set of the signed distances is empty: none is positive inside the '
                    'grid.')
  return Capacity(*(int(np.ceil(slack * x / ROUND)) * ROUND for x in needs))


def from_field(query, params, resolution, level=None, frac=1.0):
  """Signed distances [V] float32 (host) whose zero level is the surface density = `level` of a
  field, in [-1, 1].

  `query` (params, xyz [..., 3], frac) -> Sample is a `Field`'s. `level` None takes
  `mesh.automatic_level`, whose surface has the silhouettes of the rendered field. The values are
  clip(log(density / level), -3, 3) / 3: to first order a multiple of the papers'
  clamp(density - level, -1, 1), which saturates beside the surface where densities are large and
  leaves steps there. Parts but the largest, and voids inside it, change their sign, as no camera
  shows them and they would fill the lists of a `Capacity`. MeshError where the field has no surface
  on the grid: too thin to absorb half of the light of a ray, dense everywhere, or with parts
  smaller than the grid alone.
  """
  n = _cells(resolution)
  density = meshes.sample(query, params, resolution + 1, frac)
  if level is None:
    level = meshes.automatic_level(density, 2.0 / resolution)
  value = np.log(np.maximum(density, np.finfo(np.float32).tiny) / np.float32(level))
  value = _one_part(np.clip(value, -LOG_RANGE, LOG_RANGE) / LOG_RANGE)
  sdf = np.concatenate([value[::2, ::2, ::2].ravel(), value[1::2, 1::2, 1::2].ravel()])
  where = np.arange(len(sdf))
  inside = np.asarray(_closed(sdf, where, n)) > 0
  if not inside.any():
    raise MeshError(f'The field holds no surface: no vertex of the grid of resolution {resolution} '
                    f'has a density above {level:.4g}; a finer grid or a lower level may help.')
  # `sample` fades out over one cell at the unit ball; what reaches it everywhere is no object.
  if inside[np.linalg.norm(points(resolution), axis=-1) < 1.0 - 4.0 / resolution].all():
    raise MeshError(f'The field is fog: its density is above {level:.4g} everywhere.')
  return sdf


def _one_part(value):
  """Values [R, R, R] that are positive in the largest part alone, without its voids."""
  label, count = ndimage.label(value > 0)
  if not count:
    return value
  largest = label == 1 + np.argmax(np.bincount(label.ravel())[1:])
  sign = np.where(ndimage.binary_fill_holes(largest), 1, -1).astype(value.dtype)
  return np.copysign(value, sign)


def to_mesh(surface):
  """The Mesh (host arrays) of a Surface, without padding; MeshError where entries did not fit or
  there is no face."""
  overflow, faces = int(surface.overflow), np.asarray(surface.faces)[np.asarray(surface.face_mask)]
  if overflow:
    raise MeshError(f'The surface needs lists of {", ".join(map(str, np.asarray(surface.needs)))} '
                    'cells, vertices and faces, more than it was given; compute its capacity '
                    'again.')
  if not len(faces):
    raise MeshError('The level set of the signed distances is empty.')
  return Mesh(np.asarray(surface.vertices)[np.asarray(surface.vertex_mask)], faces)


def eikonal(sdf, resolution):
  """Mean (|grad s| - 1)^2 over the octahedra around the inner faces of cells, offsets left out.

  The derivative across a face is that between its two centres, those along it are the means of its
  two parallel edges.
  """
  n = _cells(resolution)
  corner = sdf[:(n + 1)**3].reshape(n + 1, n + 1, n + 1)
  center = sdf[(n + 1)**3:].reshape(n, n, n)
  total = 0.0
  for axis in range(3):
    c, m = jnp.moveaxis(corner, axis, 0)[1:-1], jnp.moveaxis(center, axis, 0)
    across, rows, columns = m[1:] - m[:-1], c[:, 1:] - c[:, :-1], c[:, :, 1:] - c[:, :, :-1]
    rows = 0.5 * (rows[:, :, 1:] + rows[:, :, :-1])
    columns = 0.5 * (columns[:, 1:] + columns[:, :-1])
    square = 0.25 * resolution**2 / 4 * (across**2 + rows**2 + columns**2)
    length = jnp.sqrt(jnp.maximum(square, 1e-12))
    total = total + jnp.square(length - 1.0).mean() / 3
  return total


def _cells(resolution):
  """Cells per axis."""
  if resolution % 2 or resolution < 6:
    raise ConfigError(f'A tetrahedral grid needs an even resolution of 6 or more, not '
                      f'{resolution}.')
  return resolution // 2


def _stencil(cell, n):
  """Grid vertices [K, 12] of the stencil of cells [K, 3]; missing centres are the cell's own, which
  lies at the border, too."""
  at = cell[:, None, :] + POINTS[None] // 2
  corner = (at[..., 0] * (n + 1) + at[..., 1]) * (n + 1) + at[..., 2]
  at = jnp.where((at < n).all(-1, keepdims=True), at, cell[:, None, :])
  center = (n + 1)**3 + (at[..., 0] * n + at[..., 1]) * n + at[..., 2]
  return jnp.where(POINTS[None, :, 0] % 2 == 0, corner, center).astype(jnp.int32)


def _cut(inside):
  """(whether the edges [K, 14] of cells are crossed, the cases [K, 12] of their tetrahedra)."""
  crossing = inside[:, EDGES[:, 0]] != inside[:, EDGES[:, 1]]
  return crossing, sum(inside[:, TETS[:, i]].astype(np.int32) << i for i in range(4))


def _lattice(index, n):
  """(indices [..., 3] along the axes, cells between the first and the last of them [..., 1]) of
  grid vertices [...]."""
  is_corner = index < (n + 1)**3
  size = jnp.where(is_corner, n + 1, n)
  index = jnp.where(is_corner, index, index - (n + 1)**3)
  at = jnp.stack([index // (size * size), index // size % size, index % size], -1)
  return at, size[..., None] - 1


def _points(index, n):
  """Places [..., 3] of grid vertices [...]."""
  at, last = _lattice(index, n)
  return (2 * at - last).astype(jnp.float32) / n


def _closed(sdf, index, n):
  """Signed distances [...] of grid vertices [...], negative at the border."""
  at, last = _lattice(index, n)
  border = ((at == 0) | (at == last)).any(-1)
  return jnp.where(border, -jnp.abs(sdf), sdf)

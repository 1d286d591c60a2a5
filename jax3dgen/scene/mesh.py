"""Extraction of a closed, coloured triangle mesh from a density field, and operations on meshes.

The field is sampled on a grid over the box [-1, 1]^3 in compiled chunks of fixed size; marching
cubes, cleaning and everything without a fixed size run on the host (numpy, scikit-image). Space
outside the rendered ball counts as empty. Axes: V vertices, F faces, N points. Densities are in
1/unit; faces are counter-clockwise from outside.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import manifold3d
import numpy as np
from scipy import sparse, spatial
from skimage import measure

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh

CHUNK = 2**16  # points of one compiled evaluation
HALF = np.log(2.0)  # the optical depth at which half of the light is absorbed
LOG_RANGE = 3.0  # log densities are clipped at this distance from the level
SLACK = 0.01  # silhouette error within which levels count as equally good
NUDGE = 0.02  # keeps vertices off the grid points, where triangles would have no area
FAR = 10.0  # extents from the origin beyond which float32 blurs a shape by more than 1e-6
DEPTHS = np.arange(-1, 7, dtype=np.float32) / 2  # of the colour samples, in grid cells


def extract(query, params, resolution, level=None, frac=1.0, radius=1.0):
  """The surface density = `level` of a field as a Mesh (host arrays), with sRGB vertex colours.

  `query` (params, xyz [..., 3], frac) -> Sample(density, rgb) is sampled at `resolution`^3 points;
  where the object leaves the ball of `radius` round the origin, the surface is closed within one
  grid cell. `level` None takes `automatic_level`. Only the shell with the largest volume is
  returned, without floaters and inner voids: one watertight solid. MeshError where no density
  reaches the level.
  """
  density = sample(query, params, resolution, frac, radius)
  spacing = 2.0 / (resolution - 1)
  if level is None:
    level = automatic_level(density, spacing)
  if not density.max() > level:
    raise _no_surface(density, f'no density lies above the level {level:.4g}')
  vertices, faces = _surface(density, level, spacing)
  vertices, faces = largest_shell(vertices, faces)
  vertices = vertices.astype(np.float32)
  if not is_watertight(faces):
    raise MeshError('The extracted surface is not closed; another resolution or level may help.')
  return Mesh(vertices, faces, colors_at(
      query, params, vertices, np.asarray(jax.jit(normals)(vertices, faces)), spacing, frac))


def sample(query, params, resolution, frac=1.0, radius=1.0):
  """Densities [R, R, R] (numpy; axes x, y, z) of a field at the R^3 grid points of the box.

  They fade out over one grid cell at the ball of `radius` and are 0 beyond it.
  """
  axis = np.linspace(-1.0, 1.0, resolution, dtype=np.float32)
  density = np.empty(resolution**3, np.float32)
  for start in range(0, resolution**3, CHUNK):
    index = np.arange(start, min(start + CHUNK, resolution**3))
    xyz = axis[np.stack(np.unravel_index(index, (resolution,) * 3), -1)]
    fade = (radius - np.linalg.norm(xyz, axis=-1)) * (0.5 * (resolution - 1)) + 0.5
    values = _density(query, params, _pad(xyz), frac)[:len(index)]
    density[index] = np.where(fade > 0, values * np.clip(fade, 0.0, 1.0), 0.0)
  if not np.isfinite(density).all():
    raise MeshError('The field has densities that are not finite; start from its last '
                    'good checkpoint.')
  return density.reshape((resolution,) * 3)


def automatic_level(density, spacing):
  """The density whose iso-surface has the silhouettes of the rendered field.

  Along the grid axes the field is seen in three orthographic views. A pixel is opaque where its
  optical depth (sum of density x spacing) absorbs more than half of the light; the iso-surface
  covers it where its largest density exceeds the level. The level minimises the share of opaque
  pixels missed plus the share of clear pixels covered. All levels around the best within SLACK of
  it count as equal (any level extracts a hard-edged object): of those, the geometric mean, which
  also avoids noise on a plateau.

  Where no axis view is opaque but an oblique one could be, the threshold is half of the largest
  opacity. Raises MeshError where no ray through the box can lose half of its light.
  """
  depth = np.concatenate([density.sum(axis, dtype=np.float64).ravel() for axis in range(3)])
  depth *= spacing
  peak = np.concatenate([density.max(axis).ravel() for axis in range(3)])
  # A ray crosses the layers of one axis at 54.7 degrees or steeper: at most sqrt(3) in each.
  bound = max(density.max((1, 2)).sum(), density.max((0, 2)).sum(), density.max((0, 1)).sum())
  if not np.sqrt(3.0) * spacing * bound > HALF:
    raise _no_surface(density, 'no view is opaque')
  opacity = -np.expm1(-depth)
  opaque = opacity > min(0.5, 0.5 * opacity.max())
  order = np.argsort(-peak, kind='stable')
  peak, opaque = peak[order].astype(np.float64), opaque[order]
  # Levels between peak[k] and peak[k + 1] cover the pixels up to k. The last level is below all.
  missed = 1.0 - np.cumsum(opaque) / opaque.sum()
  covered = np.cumsum(~opaque) / max((~opaque).sum(), 1)
  error = missed + covered
  below = np.append(peak[1:], 0.0)
  cut = peak > below
  error = error[cut]
  best = np.argmin(error)
  good = error <= error[best] + SLACK
  worse = np.flatnonzero(~good)
  first = worse[worse < best].max(initial=-1) + 1
  last = worse[worse > best].min(initial=len(good)) - 1
  high, low = peak[cut][first], below[cut][last]
  return float(np.sqrt(high * max(low, high * np.exp(-2 * LOG_RANGE))))


def largest_shell(vertices, faces):
  """The connected closed surface that encloses the largest volume; unused vertices are dropped."""
  label = shells(faces, len(vertices))
  corners = vertices[faces].astype(np.float64)
  volume = np.bincount(label, np.einsum('fi,fi->f', corners[:, 0],
                                        np.cross(corners[:, 1], corners[:, 2])))
  faces = faces[label == np.argmax(volume)]
  used, faces = np.unique(faces, return_inverse=True)
  return vertices[used], faces.reshape(-1, 3).astype(np.int32)


def flat_cut(mesh, share):
  """A closed Mesh without the lowest `share` of its height, closed by a horizontal plane.

  Of several remaining pieces the largest is returned; new vertices take the colour of the nearest
  old one. Raises MeshError where the surface is not a solid that can be cut.
  """
  if share == 0:
    return mesh
  if not 0 < share < 1:
    raise MeshError(f'The cut share of the height must be between 0 and 1, not {share}.')
  low, high = mesh.vertices[:, 2].min(), mesh.vertices[:, 2].max()
  cut = above(mesh, low + share * (high - low))
  return with_colors(*largest_shell(cut.vertices, cut.faces), mesh)


def above(mesh, height):
  """The part of a closed Mesh above z = `height`, closed there; MeshError if it is empty."""
  cut = manifold(mesh).trim_by_plane((0.0, 0.0, 1.0), float(height))
  if cut.is_empty():
    raise MeshError('The mesh is empty above the cut.')
  return with_colors(*surface_of(cut), mesh)


def refine(mesh, length):
  """A closed Mesh with the same surface and no edge longer than about `length`."""
  return with_colors(*surface_of(manifold(mesh).refine_to_length(float(length))), mesh)


def manifold(mesh):
  """The manifold3d solid of a closed Mesh; MeshError where it bounds none."""
  solid = manifold3d.Manifold(manifold3d.Mesh(  # copies: it takes no read-only array
      np.array(mesh.vertices, np.float32, order='C'), np.array(mesh.faces, np.uint32, order='C')))
  if solid.status() != manifold3d.Error.NoError:
    raise MeshError(f'The mesh bounds no valid solid: {solid.status().name}.')
  return solid


def surface_of(solid):
  """Vertices float32 [V, 3] and faces int32 [F, 3] of a manifold3d solid."""
  surface = solid.to_mesh()
  return np.asarray(surface.vert_properties)[:, :3], np.asarray(surface.tri_verts, np.int32)


def with_colors(vertices, faces, mesh):
  """A Mesh of vertices and faces with the colours of the nearest vertices of `mesh`."""
  if mesh.colors is None:
    return Mesh(vertices, faces)
  _, nearest = spatial.cKDTree(mesh.vertices).query(vertices)
  return Mesh(vertices, faces, np.asarray(mesh.colors)[nearest])


def shells(faces, count):
  """Labels [F] of the connected components of a mesh with `count` vertices."""
  link = sparse.coo_matrix((np.ones(2 * len(faces), np.int8),
                            (np.tile(faces[:, 0], 2), faces[:, 1:].T.ravel())), (count, count))
  label = sparse.csgraph.connected_components(link, directed=False)[1][faces[:, 0]]
  return np.unique(label, return_inverse=True)[1]


def is_watertight(faces):
  """Whether every edge of faces [F, 3] joins exactly two of them, and in opposite directions."""
  faces = np.asarray(faces, np.int64)
  start, end = faces.ravel(), np.roll(faces, -1, 1).ravel()
  count = faces.max(initial=0) + 1
  edge = np.sort(start * count + end)
  return (len(edge) > 0 and bool((np.diff(edge) > 0).all()) and not (start == end).any()
          and np.array_equal(edge, np.sort(end * count + start)))


def checked(mesh):
  """Vertices float64 [V, 3] and faces int64 [F, 3] of a Mesh; MeshError where they are invalid."""
  vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces)
  if vertices.ndim != 2 or vertices.shape[1:] != (3,) or faces.ndim != 2 or faces.shape[1:] != (3,):
    raise MeshError(f'A mesh is vertices [V, 3] and faces [F, 3], not {vertices.shape} and '
                    f'{faces.shape}.')
  if not len(faces):
    raise MeshError('The mesh has no faces.')
  if faces.min() < 0 or faces.max() >= len(vertices):
    raise MeshError(f'The mesh has {len(vertices)} vertices, but its faces name vertex '
                    f'{faces.min() if faces.min() < 0 else faces.max()}.')
  if not np.isfinite(vertices[faces]).all():
    raise MeshError('The mesh has vertices that are not finite.')
  return vertices, faces.astype(np.int64)


def near_origin(mesh):
  """(Mesh that float32 can hold, its offset [3] float64 from the given one).

  A mesh further from the origin than FAR extents is moved there, others are returned as they are,
  with the offset 0.
  """
  vertices = np.asarray(mesh.vertices, np.float64)
  low, high = vertices.min(0), vertices.max(0)
  offset = 0.5 * (low + high)
  if not np.abs(offset).max() > FAR * (high - low).max():
    return mesh, np.zeros(3)
  return mesh.replace(vertices=vertices - offset), offset


def normals(vertices, faces):
  """Unit vertex normals [V, 3], weighted by face area; zero for a vertex without area.

  Differentiable with respect to vertices [V, 3].
  """
  a, b, c = jnp.moveaxis(vertices[faces], 1, 0)
  face = jnp.repeat(jnp.cross(b - a, c - a), 3, axis=0)
  total = jax.ops.segment_sum(face, faces.reshape(-1), len(vertices))
  square = jnp.sum(total**2, -1, keepdims=True)
  return jnp.where(square > 0, total * jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def sample_surface(vertices, faces, place, u, v):
  """Points uniform by area on a surface, from uniform numbers in [0, 1), on the host.

  vertices [V, 3], faces [F, 3]; place, u and v [N] -> (points [N, 3], the face of each [N], and
  the cross product of the sides of every face [F, 3]).
  """
  a, b, c = np.moveaxis(vertices[faces], 1, 0)
  cross = np.cross(b - a, c - a)
  upto = np.linalg.norm(cross, axis=-1).cumsum()
  face = np.searchsorted(upto, place * upto[-1], side='right').clip(max=len(faces) - 1)
  u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))[..., None]  # fold the square
  return a[face] + u * (b - a)[face] + v * (c - a)[face], face, cross


def _surface(density, level, spacing):
  """Marching cubes (Lewiner) on log density, with a layer of empty cells round the box.

  Trained densities are smooth in the logarithm, which avoids stair artefacts; the clip puts the
  surface of a step edge halfway between two grid points.
  """
  value = np.log(np.maximum(density, np.finfo(np.float32).tiny) / np.float32(level))
  value = np.clip(value, -LOG_RANGE, LOG_RANGE)
  value = np.where(np.abs(value) < NUDGE, np.where(density > level, NUDGE, -NUDGE), value)
  value = np.pad(value, 1, constant_values=-LOG_RANGE)
  vertices, faces, _, _ = measure.marching_cubes(value, 0.0, gradient_direction='ascent')
  return (vertices - 1) * spacing - 1.0, faces


def colors_at(query, params, points, normal, spacing, frac=1.0):
  """sRGB [N, 3] of a surface at points [N, 3] with outward normals [N, 3]: of short rays along the
  inward normals, from half of `spacing`, the side of a grid cell, outside."""
  colors = np.empty_like(points)
  size = CHUNK // len(DEPTHS)
  for start in range(0, len(points), size):
    part = slice(start, start + size)
    rgb = _ray_colors(query, params, _pad(points[part], size), _pad(normal[part], size),
                      np.float32(spacing), frac)
    colors[part] = rgb[:len(points[part])]
  return np.clip(colors, 0.0, 1.0)


@functools.partial(jax.jit, static_argnums=0)
def _density(query, params, xyz, frac):
  density = query(params, xyz, jnp.asarray(frac, jnp.float32)).density
  chex.assert_shape(density, xyz.shape[:-1])
  return density


@functools.partial(jax.jit, static_argnums=0)
def _ray_colors(query, params, vertices, normal, spacing, frac):
  """Volume rendering of len(DEPTHS) samples behind each vertex [N, 3] -> [N, 3]."""
  offset = (jnp.asarray(DEPTHS) * spacing)[None, :, None]
  xyz = jnp.clip(vertices[:, None, :] - offset * normal[:, None, :], -1.0, 1.0)
  samples = query(params, xyz, jnp.asarray(frac, jnp.float32))
  depth = samples.density * (0.5 * spacing)
  before = jnp.cumsum(depth, -1) - depth
  weight = jnp.exp(-before) * -jnp.expm1(-depth) + 1e-6  # the plain mean where all is clear
  weight = weight / weight.sum(-1, keepdims=True)
  return jnp.sum(weight[..., None] * samples.rgb, -2)


def _pad(rows, size=CHUNK):
  """Rows [n, 3] padded with zeros to [size, 3], so that one compilation serves every call."""
  return np.pad(rows, ((0, size - len(rows)), (0, 0)))


def _no_surface(density, reason):
  return MeshError(f'The field holds no surface: {reason} (densities are between '
                   f'{density.min():.4g} and {density.max():.4g}).')

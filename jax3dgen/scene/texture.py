"""Textures of meshes: an atlas by xatlas, into which a field's colours are baked; fewer faces.

The atlas is a square of S x S texels; (u, v) in [0, 1]^2 is its place from the left and from the
top, as in glTF. xatlas and fast-simplification are in the extra `texture`. Axes: V vertices, F
faces, W vertices of the atlas (one at a seam is there several times), T texels of the surface.
"""

from typing import NamedTuple

import jax
import numpy as np
from scipy import ndimage, spatial
from trimesh import triangles

from jax3dgen.core import modules
from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Camera, Mesh
from jax3dgen.scene import mesh as meshes
from jax3dgen.scene import zbuffer

GUTTER = 4  # texels between two charts
SAMPLES, NEAR = 20_000, 8
# An orthographic camera to which (x, y, 0) of [-1, 1]^2 fills the picture, +y up.
RIGHT = np.full(1, 0.5 * np.pi)
FROM_ABOVE = Camera(np.array([[(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1), (0, 0, 0, 1.0)]]),
                    np.zeros(1), RIGHT, np.ones(1), RIGHT, True)


class Atlas(NamedTuple):
  """source [W] int, the vertex of the mesh; faces [F, 3] int32 in the order of those of the mesh;
  uv [W, 2] float64."""
  source: np.ndarray
  faces: np.ndarray
  uv: np.ndarray


class Texture(NamedTuple):
  """An Atlas and its colours [S, S, 3] sRGB in [0, 1]."""
  atlas: Atlas
  image: np.ndarray


def packages():
  """(xatlas, fast_simplification); ConfigError where one is missing."""
  return tuple(modules.extra(name, 'texture', 'A mesh with a texture or fewer faces')
               for name in ('xatlas', 'fast_simplification'))


def unwrap(mesh, size):
  """The Atlas of a Mesh for a texture of size x size texels; MeshError where it has no room."""
  xatlas = packages()[0]
  atlas, pack = xatlas.Atlas(), xatlas.PackOptions()
  pack.resolution, pack.padding, pack.bilinear = size, GUTTER, True
  atlas.add_mesh(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.uint32))
  atlas.generate(pack_options=pack)
  if atlas.atlas_count != 1:
    raise MeshError(f'The surface does not fit a texture of {size} x {size} texels; take a larger '
                    'one, or fewer faces.')
  source, faces, uv = atlas[0]
  # xatlas packs a rectangle of about the wanted size; the square holds its longer side.
  sides = np.array([[atlas.width, atlas.height]], np.float64)
  return Atlas(source.astype(np.int64), faces.astype(np.int32), uv * sides / sides.max())


def texels(atlas, values, size):
  """Values [W, 3] of the vertices of an Atlas, interpolated at the centres of the texels that the
  surface covers: ([size, size, 3] float32, NaN elsewhere)."""
  flat = np.concatenate([2 * atlas.uv[:, :1] - 1, 1 - 2 * atlas.uv[:, 1:],
                         np.zeros_like(atlas.uv[:, :1])], 1)
  return zbuffer.render(Mesh(flat, atlas.faces, values), FROM_ABOVE, size, (np.nan,) * 3)[0]


def bake(color, mesh, atlas, size):
  """The Texture [size, size] of color (points [N, 3], unit normals [N, 3]) -> [N, 3] on a Mesh.

  Texels that the surface does not cover have the colour of the nearest that it does.
  """
  points, normals = (texels(atlas, x[atlas.source], size) for x in _surface(mesh))
  covered = np.isfinite(points[..., 0])
  if not covered.any():
    raise MeshError(f'The atlas has no texel at {size} x {size}; take a larger texture.')
  image = np.zeros((size, size, 3), np.float32)
  image[covered] = color(points[covered], _unit(normals[covered]))
  _, index = ndimage.distance_transform_edt(~covered, return_indices=True)
  return Texture(atlas, image[tuple(index)])


def of_uncut(color, uncut, distance):
  """`color` of `bake`, but that points further than `distance` from the vertices of the Mesh
  `uncut`, on the faces of a cut, have the colours of the nearest of these."""
  tree = spatial.cKDTree(uncut.vertices)

  def mixed(points, normals):
    gap, nearest = tree.query(points)
    return np.where(gap[:, None] > distance, np.asarray(uncut.colors)[nearest],
                    color(points, normals))
  return mixed


def psnr(color, mesh, texture):
  """dB of a Texture, bilinear, against `color` as in `bake`, at SAMPLES random points."""
  vertices, normals = _surface(mesh)
  rng, faces = np.random.default_rng(0), np.asarray(mesh.faces)
  _, face, _ = meshes.sample_surface(vertices, faces, *rng.random((3, SAMPLES)))
  weight = rng.dirichlet(np.ones(3), SAMPLES)[..., None]
  at = lambda values, corners: (weight * values[corners[face]]).sum(1)
  true = color(at(vertices, faces).astype(np.float32), _unit(at(normals, faces)))
  error = lookup(texture, at(texture.atlas.uv, texture.atlas.faces)) - true
  return float(-10 * np.log10(np.square(error).mean()))


def _unit(normals):
  """Normals [N, 3] of length 1, float32."""
  length = np.linalg.norm(normals, axis=-1, keepdims=True)
  return (normals / np.maximum(length, 1e-9)).astype(np.float32)


def lookup(texture, uv):
  """Bilinear colours [N, 3] of a Texture at uv [N, 2]."""
  place = (np.asarray(uv)[:, ::-1] * len(texture.image) - 0.5).T
  return np.stack([ndimage.map_coordinates(texture.image[..., k], place, order=1, mode='nearest')
                   for k in range(3)], -1)


def _surface(mesh):
  """(vertices [V, 3] float32, their unit normals [V, 3]) of a Mesh."""
  vertices = np.asarray(mesh.vertices, np.float32)
  return vertices, np.asarray(jax.jit(meshes.normals)(vertices, np.asarray(mesh.faces)))


def simplify(mesh, faces):
  """(Mesh with about `faces` faces, its greatest distance from the given one), both closed.

  The distance is that of vertices and points of either surface to the other (Hausdorff, by
  SAMPLES points each), in units. Colours are those of the nearest vertices. A Mesh with no more
  faces is returned as it is. MeshError where the result bounds no solid.
  """
  if faces >= len(mesh.faces):
    return mesh, 0.0
  points, corners = packages()[1].simplify(
      np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32), target_count=faces)
  # Parts that the collapse of edges lets touch share edges; manifold3d takes them apart again.
  solid = meshes.manifold(Mesh(points, corners))
  small = meshes.with_colors(*meshes.surface_of(solid), mesh)
  return small, hausdorff(mesh, small)


def hausdorff(first, second):
  """The greatest distance of vertices and SAMPLES points of either Mesh from the other surface.

  The nearest point of a surface is sought on the faces of its NEAR nearest samples and middles of
  faces.
  """
  sides = [(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces))
           for mesh in (first, second)]
  rng = np.random.default_rng(0)
  samples = []
  for vertices, faces in sides:
    points, face, _ = meshes.sample_surface(vertices, faces, *rng.random((3, SAMPLES)))
    samples.append((np.concatenate([points, vertices[faces].mean(1)]),
                    np.concatenate([face, np.arange(len(faces))])))
  return max(_distance(np.concatenate([sides[i][0], samples[i][0]]), sides[j], samples[j]).max()
             for i, j in ((0, 1), (1, 0)))


def _distance(points, side, samples):
  """Distances [N] of points [N, 3] from a surface (vertices, faces) with samples (points, their
  faces)."""
  _, near = spatial.cKDTree(samples[0]).query(points, NEAR)
  corners = side[0][side[1][samples[1][near.ravel()]]]
  each = np.repeat(points, NEAR, 0)
  closest = triangles.closest_point(corners, each)
  return np.linalg.norm(closest - each, axis=-1).reshape(-1, NEAR).min(1)

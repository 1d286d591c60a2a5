"""A differentiable rasteriser of triangle meshes in JAX, of static shapes under jit.

The work is proportional to the covered pixels, not to faces x pixels: each face is expanded to the
rows of pixel centres that it crosses, each of these spans to its pixels, and the nearest fragment
of a pixel is a scatter-maximum. Both lists have a fixed length (`Capacity`); what does not fit is
counted. The choice of the nearest face has no gradient; everything of a pixel is then computed
again from the corners of its face, differentiably. `silhouette.antialias` gives the gradients of
visibility.

Axes: B cameras, V vertices, F faces, H and W pixels, K channels. Pixel (0, 0) spans from 0 to 1, x
to the right and y down; a pixel belongs to the face at its centre. Depths are along the camera's
axis, in units. Faces are seen from both sides; those that reach behind NEAR are left out.
`scene/zbuffer` is the rasteriser for single pictures of meshes on the host.
"""

from typing import NamedTuple

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Array
from jax3dgen.scene import lists

NEAR = 1e-3  # smallest depth that is drawn, in units
THIN = 1e-6  # square pixels; projections below are those of faces seen edge-on


class Capacity(NamedTuple):
  """Lengths of the lists of spans (a face in a row of pixels), of fragments (a face in a pixel) and
  of crossings (a silhouette edge between two pixels), all cameras together."""
  spans: int
  fragments: int
  crossings: int


@struct.dataclass
class Projection:
  """A mesh in the pictures of B cameras: place [B, V, 2] in pixels, depth [B, V], faces [F, 3], and
  which of them, [B, F], are drawn; `area` [B, F] in square pixels is positive for a face that is
  seen from the side from which it is counter-clockwise. `footprint` [B] is the width of a pixel, in
  units, divided by depth for a perspective camera."""
  place: Array
  depth: Array
  faces: Array
  drawn: Array
  area: Array
  footprint: Array
  perspective: bool = struct.field(pytree_node=False)


@struct.dataclass
class Picture:
  """What B cameras see of a mesh.

  face [B, H, W] int32, -1 for none; mask [B, H, W] in {0, 1}; barycentrics [B, H, W, 3] of the
  point in its face, perspective-correct; depth [B, H, W], inf where nothing is. `needs` [2] int32
  are the lengths of the lists of spans and fragments, `overflow` [] int32 how many did not fit: the
  picture is complete where it is 0.
  """
  face: Array
  mask: Array
  barycentrics: Array
  depth: Array
  needs: Array
  overflow: Array


def capacity(faces, cameras, size):
  """A Capacity for `cameras` pictures of `size`^2 pixels of closed meshes with `faces` faces.

  Three layers of fragments over the whole picture, twice the spans of one layer of equal squares
  that covers it, and silhouettes of six times its circumference.
  """
  spans = min(faces * size, int(2 * np.sqrt(faces) * size) + 8 * size)
  return Capacity(cameras * spans, cameras * 3 * size**2, cameras * 24 * size)


def check(picture):
  """The Picture itself; MeshError where its lists were too short. On the host."""
  if int(picture.overflow):
    spans, fragments = np.asarray(picture.needs)
    raise MeshError(f'The picture needs lists of {spans} spans and {fragments} fragments, more '
                    'than it was given.')
  return picture


def project(vertices, faces, camera, size, mask=None):
  """The Projection of vertices [V, 3] and faces [F, 3] in `size`^2 pixels.

  Faces outside `mask` [F] are not drawn. Depths below NEAR count as NEAR for `place`.
  """
  vertices, faces = jnp.asarray(vertices), jnp.asarray(faces)
  shift = vertices[None] - camera.c2w[:, None, :3, 3]
  local = [sum(camera.c2w[:, i, k][:, None] * shift[..., i] for i in range(3)) for k in range(3)]
  depth = -local[2]
  footprint = 2.0 / size * jnp.tan(0.5 * camera.fovy)
  if camera.orthographic:
    footprint = footprint * camera.distance
  scale = 1.0 / footprint[:, None]
  if not camera.orthographic:
    scale = scale / jnp.maximum(depth, NEAR)
  place = 0.5 * size + jnp.stack([scale * local[0], -scale * local[1]], -1)
  a, b, c = (place[:, faces[:, k]] for k in range(3))
  area = 0.5 * ((b - a)[..., 1] * (c - a)[..., 0] - (b - a)[..., 0] * (c - a)[..., 1])
  area = jax.lax.stop_gradient(area)
  drawn = (depth > NEAR)[:, faces].all(-1) & (jnp.abs(area) > THIN)
  if mask is not None:
    drawn = drawn & mask[None]
  return Projection(place, depth, faces, drawn, area, footprint, not camera.orthographic)


def rasterize(projection, size, capacity):
  """The Picture of a Projection in `size`^2 pixels; barycentrics and depth have gradients."""
  face, needs, overflow = _nearest(jax.lax.stop_gradient(projection), size, capacity)
  barycentrics, depth = shade(projection, face)
  return Picture(face, (face >= 0).astype(depth.dtype), barycentrics, depth, needs, overflow)


def shade(projection, face):
  """(barycentrics [B, H, W, 3], depth [B, H, W]) of a Projection where it shows faces [B, H, W].

  On a pixel the screen weights b_i of the corners are affine in x and y; with corner depths z_i the
  point has the depth 1 / sum(b_i / z_i) and the weights b_i / z_i times it, b_i themselves for an
  orthographic camera. Pixels with face -1 have the weights 0 and the depth inf.
  """
  views, height, width = face.shape
  hit = face >= 0
  corner = projection.faces[jnp.maximum(face, 0)]  # [B, H, W, 3]
  index = corner + (jnp.arange(views) * projection.place.shape[1])[:, None, None, None]
  place = projection.place.reshape(-1, 2)[index]
  depth = projection.depth.reshape(-1)[index]
  x = (jnp.arange(width) + 0.5)[None, None, :, None]
  y = (jnp.arange(height) + 0.5)[None, :, None, None]
  weight = _weights(place[..., 0] - x, place[..., 1] - y, hit)
  depth = jnp.where(hit[..., None], depth, 1.0)
  if projection.perspective:
    weight = weight / depth
    inverse = weight.sum(-1)
    away, weight = 1.0 / inverse, weight / inverse[..., None]
  else:
    away = jnp.sum(weight * depth, -1)
  return jnp.where(hit[..., None], weight, 0.0), jnp.where(hit, away, jnp.inf)


def interpolate(picture, faces, values):
  """Values [V, K] of vertices at the points of a Picture, [B, H, W, K]; 0 where nothing is."""
  corner = jnp.asarray(faces)[jnp.maximum(picture.face, 0)]
  return sum(picture.barycentrics[..., k, None] * values[corner[..., k]] for k in range(3))


def face_normals(picture, vertices, faces):
  """Unit normals [B, H, W, 3] of the faces of a Picture; 0 where nothing is."""
  corner = jnp.asarray(faces)[jnp.maximum(picture.face, 0)]
  a, b, c = (vertices[corner[..., k]] for k in range(3))
  return unit(jnp.cross(b - a, c - a)) * picture.mask[..., None]


def smooth_normals(picture, faces, normals):
  """Unit interpolated vertex normals [B, H, W, 3] of a Picture; `normals` [V, 3] are
  `mesh.normals`. 0 where nothing is."""
  return unit(interpolate(picture, faces, normals))


def unit(vector):
  """Vectors [..., 3] of length 1, 0 for those of length 0, with gradients that are finite."""
  square = jnp.sum(vector**2, -1, keepdims=True)
  return jnp.where(square > 0, vector * jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _weights(x, y, hit):
  """Screen weights [..., 3] of the origin in triangles with corners x and y [..., 3].

  They are clipped to [0, 1]: rounding moves the weights of faces much smaller than a pixel.
  """
  double = [x[..., (k + 1) % 3] * y[..., (k + 2) % 3] - x[..., (k + 2) % 3] * y[..., (k + 1) % 3]
            for k in range(3)]
  total = sum(double)
  total = jnp.where(hit & (jnp.abs(total) > THIN), total, 1.0)
  weight = jnp.clip(jnp.stack(double, -1) / total[..., None], 0.0, 1.0)
  total = weight.sum(-1, keepdims=True)
  return jnp.where(total > 0.5, weight / jnp.where(total > 0.5, total, 1.0), 1.0 / 3.0)


def _nearest(projection, size, capacity):
  """(face [B, H, W] nearest to the camera or -1, needs [2], overflow [])."""
  views, faces = projection.drawn.shape
  place = jnp.concatenate([projection.place, projection.depth[..., None]], -1)
  corner = place[:, projection.faces].reshape(views * faces, 9)  # x, y, z of a, b and c
  x, y = corner[:, 0::3], corner[:, 1::3]
  left, right = _centers(x.min(1), x.max(1), size)
  top, bottom = _centers(y.min(1), y.max(1), size)
  drawn = projection.drawn.reshape(-1) & (right >= left)  # many small faces hold no pixel centre
  rows = jnp.where(drawn, jnp.maximum(bottom - top + 1, 0), 0)
  item, row, valid, spans = lists.expand(rows, capacity.spans)
  row = top[item] + row
  first, last, near, slope, low, high = _span(corner[item], row, size, projection.perspective)
  pixels = jnp.where(valid, jnp.maximum(last - first + 1, 0), 0)
  span, step, valid, fragments = lists.expand(pixels, capacity.fragments)
  near = jnp.clip(near[span] + slope[span] * step, low[span], high[span])
  item = item[span]
  pixel = (item // faces * size + row[span]) * size + first[span] + step
  pixel = jnp.where(valid, pixel, views * size**2)
  best = jnp.full(views * size**2, -jnp.inf).at[pixel].max(near, mode='drop')
  win = valid & (near == best.at[pixel].get(mode='clip'))
  face = jnp.full(views * size**2, -1, jnp.int32).at[pixel].max(
      jnp.where(win, item % faces, -1), mode='drop')
  needs = jnp.stack([spans, fragments])
  overflow = jnp.maximum(needs - jnp.array(capacity[:2], jnp.int32), 0).sum()
  return face.reshape(views, size, size), needs, overflow


def _centers(low, high, size):
  """(first, last) of the pixels whose centres lie in [low, high], within the picture."""
  limit = lambda x: jnp.clip(x, -1.0, size + 1.0)  # no overflow of the integers
  first, last = jnp.ceil(limit(low) - 0.5), jnp.floor(limit(high) - 0.5)
  return (jnp.maximum(first, 0.0).astype(jnp.int32),
          jnp.minimum(last, size - 1.0).astype(jnp.int32))


def _span(corner, row, size, perspective):
  """Where the line of pixel centres of rows [S] meets faces with corners [S, 9].

  (first, last) pixels, nearness at the first and its slope per pixel, and the bounds of nearness:
  1 / depth, or -depth for an orthographic camera, which are affine on the screen.
  """
  y = row + 0.5
  x, height, depth = (corner[:, k::3] for k in range(3))
  low, high = jnp.inf, -jnp.inf
  for k in range(3):
    i, j = k, (k + 1) % 3
    # An edge is evaluated from its upper end in both of its faces, which leaves no gap.
    down = height[:, i] <= height[:, j]
    up = lambda z, i=i, j=j, down=down: jnp.where(down, z[:, i], z[:, j])
    low_end = lambda z, i=i, j=j, down=down: jnp.where(down, z[:, j], z[:, i])
    across = (up(height) <= y) & (y < low_end(height))
    length = jnp.where(across, low_end(height) - up(height), 1.0)
    at = up(x) + (y - up(height)) / length * (low_end(x) - up(x))
    low = jnp.where(across, jnp.minimum(low, at), low)
    high = jnp.where(across, jnp.maximum(high, at), high)
  first, last = _centers(low, high, size)
  near = 1.0 / jnp.maximum(depth, NEAR) if perspective else -depth
  x = x - (first + 0.5)[:, None]
  height = height - y[:, None]
  weight = _weights(x, height, True)
  total = ((x[:, 1] - x[:, 0]) * (height[:, 2] - height[:, 0])
           - (x[:, 2] - x[:, 0]) * (height[:, 1] - height[:, 0]))
  total = jnp.where(jnp.abs(total) > THIN, total, 1.0)
  slope = sum(near[:, k] * (height[:, (k + 1) % 3] - height[:, (k + 2) % 3]) for k in range(3))
  return first, last, jnp.sum(weight * near, -1), slope / total, near.min(1), near.max(1)

"""Anti-aliased silhouettes of a rasterised mesh, and with them the gradients of visibility.

A silhouette edge is one whose two faces lie on the same side of it in the picture, or that has one
face only. Where it crosses the line between the centres of two neighbouring pixels, 0 and 1, at the
share f of the way, with the inner side at s = 1 (pixel 0) or s = -1 (pixel 1), the pair is

  q = sum_k w_k s_k (f_k - 1/2) / sum_k s_k,   w = n^2,

over its visible crossings k, where n is the component of the edge's unit normal along the line.
With one crossing and an edge at right angles, 1/2 + q is the share of the way that shows what pixel
0 shows: q (c_0 - c_1) of the colours is added to pixel 1 where q > 0, else to pixel 0. The weights
n_x^2 and n_y^2 of the two directions add up to 1, so that the displacement of an edge is counted
once: the derivative of the sum of all pixels is the integral of velocity x contrast along the
silhouette, by sums over rows and columns. The signs s let the crossings of a jagged silhouette
cancel, which keeps this valid where faces are much smaller than a pixel. (nvdiffrast's antialiasing
takes the edges of the face at the pixel's centre, which is too near there.)

A crossing is visible where its outer pixel shows nothing nearer than the edge. Axes: B cameras, F
faces, H and W pixels, K channels.
"""

from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core.types import Array
from jax3dgen.scene import lists, raster


@struct.dataclass
class Silhouette:
  """q of the horizontal pairs of pixels, across [B, H, W - 1], and of the vertical ones, down
  [B, H - 1, W]; `needs` [] int32 is the length that the list of crossings should have, `overflow`
  [] by how much it is too short."""
  across: Array
  down: Array
  needs: Array
  overflow: Array


def locate(projection, picture, twin, capacity):
  """The Silhouette of a Projection and its Picture, with gradients in the vertices.

  `twin` [F, 3] is `connectivity.twins` of the faces.
  """
  views, size = picture.face.shape[:2]
  owner, line, is_row, valid, needs = _crossings(jax.lax.stop_gradient(projection), twin, size,
                                                 capacity.crossings)
  view, half = owner // twin.size, owner % twin.size
  index = jnp.stack([projection.faces.reshape(-1)[half],
                     jnp.roll(projection.faces, -1, 1).reshape(-1)[half]], -1)
  index = index + (view * projection.place.shape[1])[:, None]
  ends = projection.place.reshape(-1, 2)[index]  # [N, 2 ends, 2]
  along = jnp.where(is_row[:, None], ends[..., 1], ends[..., 0])
  across = jnp.where(is_row[:, None], ends[..., 0], ends[..., 1])
  rise, run = along[:, 1] - along[:, 0], across[:, 1] - across[:, 0]
  valid = valid & (rise != 0)
  share = (line + 0.5 - along[:, 0]) / jnp.where(valid, rise, 1.0)
  at = across[:, 0] + share * run - 0.5
  at = jnp.where(valid, at, 0.0)
  pixel = jnp.floor(jnp.clip(jax.lax.stop_gradient(at), -1.0, size)).astype(jnp.int32)
  valid = valid & (pixel >= 0) & (pixel < size - 1)

  faces = twin.shape[0]
  turn = jnp.sign(projection.area.reshape(-1)[view * faces + half // 3]) * jnp.sign(rise)
  sign = jnp.where(is_row, -turn, turn)
  row, column = jnp.where(is_row, line, pixel), jnp.where(is_row, pixel, line)
  place = (view * size + row) * size + column
  outer = place + jnp.where(sign > 0, jnp.where(is_row, 1, size), 0)
  depth = projection.depth.reshape(-1)[index]
  depth, share, rise, run = jax.lax.stop_gradient((depth, share, rise, run))
  slack = projection.footprint[view]
  if projection.perspective:
    depth = 1.0 / jnp.maximum(depth, raster.NEAR)
  depth = depth[:, 0] + share * (depth[:, 1] - depth[:, 0])
  if projection.perspective:
    depth = 1.0 / jnp.maximum(depth, 1e-12)
    slack = slack * depth
  behind = jax.lax.stop_gradient(picture.depth).reshape(-1).at[outer].get(mode='clip')
  visible = valid & (behind > depth - slack)

  weight = rise**2 / jnp.where(valid, rise**2 + run**2, 1.0)
  place = jnp.where(visible, place + jnp.where(is_row, 0, picture.face.size), 2 * picture.face.size)
  count = jnp.zeros(2 * picture.face.size).at[place].add(sign, mode='drop')
  total = jnp.zeros(2 * picture.face.size).at[place].add(weight * sign * (at - pixel - 0.5),
                                                         mode='drop')
  q = jnp.where(count != 0, total / jnp.where(count != 0, count, 1.0), 0.0)
  across, down = q.reshape(2, views, size, size)
  return Silhouette(across[:, :, :-1], down[:, :-1], needs,
                    jnp.maximum(needs - capacity.crossings, 0))


def antialias(image, silhouette):
  """Images [B, H, W, K] with anti-aliased silhouettes; gradients reach the vertices through both
  arguments."""
  return image + _blend(image, silhouette.across, 2) + _blend(image, silhouette.down, 1)


def _blend(image, q, axis):
  """What the pairs of pixels along an axis of the image add to it."""
  size = image.shape[axis]
  first = jax.lax.slice_in_dim(image, 0, size - 1, axis=axis)
  second = jax.lax.slice_in_dim(image, 1, size, axis=axis)
  change = q[..., None] * (first - second)
  pad = lambda x, before: jnp.pad(x, [(before, 1 - before) if i == axis else (0, 0)
                                      for i in range(4)])
  later = (q > 0)[..., None]
  return pad(jnp.where(later, 0.0, change), 0) + pad(jnp.where(later, change, 0.0), 1)


def _crossings(projection, twin, size, length):
  """The list of crossings of silhouette edges with lines of pixel centres.

  (half-edge of all views [N], row or column [N], whether it is a row [N], valid [N], needs []).
  """
  sign = jnp.where(projection.drawn, jnp.sign(projection.area), 0.0)
  other = jnp.where(twin[None] >= 0, sign[:, twin // 3], 0.0)
  mine = sign[..., None]
  edge = (mine != 0) & ((other == 0) | ((mine > 0) & (other < 0)))  # [B, F, 3]
  place = projection.place[:, projection.faces]
  low = jnp.minimum(place, jnp.roll(place, -1, 2))
  high = jnp.maximum(place, jnp.roll(place, -1, 2))
  center = lambda x: jnp.ceil(jnp.clip(x - 0.5, 0.0, size)).astype(jnp.int32)
  first, count = center(low), jnp.maximum(center(high) - center(low), 0)
  count = jnp.where(edge[..., None], count, 0).reshape(-1, 2)  # columns, rows
  owner, entry, valid, needs = lists.expand(count.sum(1), length)
  rows = count[owner, 1]
  first = first.reshape(-1, 2)[owner]
  is_row = entry < rows
  return (owner, jnp.where(is_row, first[:, 1] + entry, first[:, 0] + entry - rows), is_row, valid,
          needs)

"""Random objects for the image-to-3D generator: occupancy, pictures and meshes by seed.

An object is a union of balls, boxes and upright frusta (`object_kinds`) under one shear, its lean,
in the cube [-0.5, 0.5]^3 of `generator.base`: +z up, the front on +x, the sole at SOLE, the middle
of the bounding box at x = y = 0 and its largest extent EXTENT. The sole lies halfway between two
layers of voxel centres: a cut of half a voxel (`scene.voxels.cut`) then ends on the centres, where
an occupancy with a small error is the most precise, and an error of less than half a voxel moves no
voxel of the sole to the other side. Light is the hemisphere of `figurines` in the frame of the
upright object; the background is white.

Axes: B objects, P solids of one shape, H and W pixels, R voxels per side. A picture is the square
of MARGIN times the object's extent in it, round its middle, as TRELLIS crops its images.
"""

import functools

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core.types import Array
from jax3dgen.data import figurines
from jax3dgen.data.object_kinds import KINDS as MAKERS
from jax3dgen.scene import voxels

KINDS = tuple(MAKERS)
RESOLUTION, SIZE = 32, 32  # voxels and pixels per side
SOLE, EXTENT = -15 / 32, 0.92
LEAN = 0.18  # spread of the shear, sideways shift per height, along each axis
AZIMUTH, ELEVATION = 0.6, (0.05, 0.4)  # radians: largest azimuth, range of elevations
DISTANCE = 1.475  # from the middle of the bounding box to the camera
MARGIN = 1.2
SOFTNESS = 0.4  # voxels over which a soft occupancy changes: sigmoid(-distance / SOFTNESS)
SLOTS = {'ball': 20, 'box': 14, 'cone': 8}  # largest number of solids of each shape


@struct.dataclass
class Solids:
  """Solids of one shape: center and size [B, P, 3] as in `object_kinds.Solid`, rgb [B, P, 3], and
  whether the slot is in use [B, P]."""
  center: Array
  size: Array
  rgb: Array
  used: Array


@struct.dataclass
class Objects:
  """B objects. A point p of the solids' frame lies at scale (p + (lean, 0) p_z) + shift.

  kind [B] int32 into KINDS, solids {shape: Solids}, lean [B, 2], scale [B], shift [B, 3], height
  [B], azimuth and elevation [B] of the picture's camera (radians), window [B, 3]: middle and half
  size of the picture in units of the distance along the line of sight.
  """
  kind: Array
  solids: dict
  lean: Array
  scale: Array
  shift: Array
  height: Array
  azimuth: Array
  elevation: Array
  window: Array


def draw(seeds):
  """The Objects of whole numbers `seeds` >= 0 [B]; each depends on its own seed alone.

  Kinds take turns with the seed.
  """
  seeds = [int(seed) for seed in seeds]
  kind = np.array([seed % len(KINDS) for seed in seeds], np.int32)
  solids = {shape: Solids(*(np.zeros((len(seeds), slots, 3), np.float32) for _ in range(3)),
                          np.zeros((len(seeds), slots), bool)) for shape, slots in SLOTS.items()}
  for table in solids.values():
    table.size[:] = 1.0
  pose = np.zeros((len(seeds), 4), np.float32)
  for b, seed in enumerate(seeds):
    rng, count = np.random.default_rng(seed), dict.fromkeys(SLOTS, 0)
    for shape, center, size, rgb in MAKERS[KINDS[kind[b]]](rng):
      table, slot = solids[shape], (b, count[shape])
      table.center[slot], table.size[slot], table.rgb[slot], table.used[slot] = (
          center, size, rgb, True)
      count[shape] += 1
    pose[b] = *rng.normal(0, LEAN, 2), rng.uniform(-AZIMUTH, AZIMUTH), rng.uniform(*ELEVATION)
  return _place(kind, solids, pose)


def extremes(solids, shape, direction):
  """The points [B, P, 3] of Solids that lie furthest along direction [B, 3], in their frame."""
  d, s = direction[:, None], solids.size
  if shape == 'ball':
    offset = s**2 * d / jnp.linalg.norm(s * d, axis=-1, keepdims=True)
  elif shape == 'box':
    offset = jnp.sign(d) * s
  else:
    across = jnp.linalg.norm(d[..., :2], axis=-1, keepdims=True)
    up = s[..., 1:2] * across + s[..., 2:] * d[..., 2:] > (
        s[..., :1] * across - s[..., 2:] * d[..., 2:])
    rim = jnp.where(up, s[..., 1:2], s[..., :1]) * d[..., :2] / jnp.maximum(across, 1e-9)
    offset = jnp.concatenate([rim, jnp.where(up, s[..., 2:], -s[..., 2:])], -1)
  return solids.center + offset


def _shear(points, lean):
  """points [B, N, 3] of upright solids, leaning by [B, 2]."""
  return jnp.concatenate([points[..., :2] + lean[:, None] * points[..., 2:], points[..., 2:]], -1)


@jax.jit
def _place(kind, solids, pose):
  """Objects of solids and pose [B, 4] (lean, azimuth, elevation): scaled, placed and framed."""
  lean, azimuth, elevation = pose[:, :2], pose[:, 2], pose[:, 3]

  def furthest(directions):
    """The extreme points [B, N, 3] of all solids along world directions [B, 3], leaning."""
    pulled = [jnp.concatenate(
        [d[:, :2], d[:, 2:] + jnp.sum(lean * d[:, :2], -1, keepdims=True)], -1) for d in directions]
    points = [extremes(table, shape, d) for d in pulled for shape, table in solids.items()]
    return _shear(jnp.concatenate(points, 1), lean)

  def bounds(points):
    """(lowest, highest) [B, C] of points [B, N, C] of `furthest` over the solids in use."""
    used = jnp.concatenate([table.used for table in solids.values()], 1)
    used = jnp.tile(used, (1, points.shape[1] // used.shape[1]))[..., None]
    return (points.min(1, where=used, initial=jnp.inf), points.max(1, where=used, initial=-jnp.inf))

  axes = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)
  low, high = bounds(furthest([jnp.broadcast_to(axis[None], (len(kind), 3)) for axis in axes]))
  scale = EXTENT / (high - low).max(-1)
  middle = 0.5 * (low + high) * scale[:, None]
  shift = jnp.concatenate([-middle[:, :2], SOLE - scale[:, None] * low[:, 2:]], -1)
  height = scale * (high - low)[:, 2]
  objects = Objects(kind, solids, lean, scale, shift, height, azimuth, elevation,
                    jnp.zeros((len(kind), 3)))
  c2w = camera(objects).c2w
  right, up, back = (c2w[:, :3, i] for i in range(3))
  low = high = jnp.zeros((len(kind), 2))
  for _ in range(2):  # of the points with the largest x / depth = k, x - k depth is the largest
    pull = lambda axis, k: axis + k[:, None] * back
    outline = furthest([pull(right, high[:, 0]), -pull(right, low[:, 0]), pull(up, high[:, 1]),
                        -pull(up, low[:, 1])])
    outline = scale[:, None, None] * outline + shift[:, None]
    local = jnp.einsum('bni,bij->bnj', outline - c2w[:, None, :3, 3], c2w[:, :3, :3],
                       precision='highest')
    low, high = bounds(-local[..., :2] / local[..., 2:])
  half = 0.5 * MARGIN * (high - low).max(-1, keepdims=True)
  return objects.replace(window=jnp.concatenate([0.5 * (low + high), half], -1))


def camera(objects):
  """The Camera [B] of the pictures, without their windows: it looks at the middle of the box."""
  orbit = cameras.orbit(objects.azimuth, objects.elevation, DISTANCE, 1.0)
  return orbit.replace(c2w=orbit.c2w.at[:, 2, 3].add(SOLE + 0.5 * objects.height))


def _upright(obj, points):
  """World points, a triple of arrays, in the frame of the upright solids of one object.

  Separate x, y, z are several times faster on a CPU than one array with an axis of 3.
  """
  x, y, z = ((p - obj.shift[i]) / obj.scale for i, p in enumerate(points))
  return x - obj.lean[0] * z, y - obj.lean[1] * z, z


def _distance(shape, center, size, points):
  """Approximate signed distance of points, a triple, to a solid: exact in sign and zeros."""
  x, y, z = (p - center[i] for i, p in enumerate(points))
  norm = lambda *axes: jnp.sqrt(sum(a * a for a in axes) + 1e-12)
  if shape == 'ball':
    unit = norm(*(a / size[i] for i, a in enumerate((x, y, z))))
    return unit * (unit - 1) / norm(*(a / size[i]**2 for i, a in enumerate((x, y, z))))
  if shape == 'box':
    q = [jnp.abs(a) - size[i] for i, a in enumerate((x, y, z))]
    outside = norm(*(jnp.maximum(a, 0) for a in q))
    return outside + jnp.minimum(functools.reduce(jnp.maximum, q), 0)
  low, high, half = size
  slope = 0.5 * (high - low) / half
  side = norm(x, y) - 0.5 * (low + high) - slope * z
  return jnp.maximum(side * jax.lax.rsqrt(1 + slope**2), jnp.abs(z) - half)


def _over_solids(update, state, solids):
  """`update(shape, state, center, size, rgb)` over the solids in use of one object."""
  for shape, table in solids.items():
    def one(state, row, shape=shape):
      return jax.lax.cond(row.used, lambda: update(shape, state, row.center, row.size, row.rgb),
                          lambda: state), None
    state, _ = jax.lax.scan(one, state, table)
  return state


def _signed_distance(obj, points):
  p = _upright(obj, [points[..., i] for i in range(3)])
  nearer = lambda shape, d, center, size, rgb: jnp.minimum(d, _distance(shape, center, size, p))
  return obj.scale * _over_solids(nearer, jnp.full(points.shape[:-1], 9.0), obj.solids)


@jax.jit
def signed_distance(objects, points):
  """About the distance [B, ...] of points [..., 3] to the surfaces, in sign exact, inside < 0."""
  return jax.lax.map(lambda obj: _signed_distance(obj, points), objects)


@functools.cache
def grid(resolution=RESOLUTION):
  """The voxel centres [R, R, R, 3] of the cube."""
  axis = ((np.arange(resolution) + 0.5) / resolution - 0.5).astype(np.float32)
  return np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), -1)


def logits(objects, resolution=RESOLUTION):
  """[B, R, R, R], minus the distance in units of SOFTNESS voxels: what a decoder should say."""
  return -signed_distance(objects, grid(resolution)) * (resolution / SOFTNESS)


def occupancy(objects, resolution=RESOLUTION):
  """Soft occupancy [B, R, R, R] in [0, 1], by which marching cubes finds the surface between voxel
  centres."""
  return jax.nn.sigmoid(logits(objects, resolution))


def mesh(objects, index, resolution=96):
  """The true surface of object `index` as a closed Mesh without colours."""
  one = jax.tree.map(lambda x: x[index:index + 1], objects)
  return voxels.mesh(np.asarray(logits(one, resolution))[0], smallest=0.0)


@functools.partial(jax.jit, static_argnames=('size', 'samples'))
def picture(objects, size=SIZE, samples=2):
  """(rgb [B, H, W, 3] on white, opacity [B, H, W]), H = W = `size`, samples x samples rays a pixel.

  Both in [0, 1].
  """
  c2w = camera(objects).c2w
  count = size * samples
  axis = (2.0 * np.arange(count, dtype=np.float32) + 1) / count - 1

  def one(row):
    obj, c2w = row
    x, y, half = obj.window
    u, v = jnp.meshgrid(x + half * axis, y - half * axis)
    u, v, eye = u.reshape(1, -1), v.reshape(1, -1), c2w[:3, 3]
    ahead = [c2w[i, 0] * u + c2w[i, 1] * v - c2w[i, 2] + eye[i] for i in range(3)]
    origin = _upright(obj, [x.reshape(1, 1) for x in eye])
    direction = [b - a for a, b in zip(origin, _upright(obj, ahead), strict=True)]
    # A component of exactly 0 would make 0 / 0 of a ray in the plane of a box's side.
    direction = [jnp.where(jnp.abs(d) < 1e-7, 1e-7, d) for d in direction]

    def nearer(shape, state, center, size, rgb):
      t, up, on = figurines.HIT[shape](origin, direction, *(
          [a[i].reshape(1, 1) for i in range(3)] for a in (center, size)))
      on = on & (t > 0) & (t < state[0])
      shade = figurines.AMBIENT + figurines.SKY * up
      return tuple(jnp.where(on, new, old) for new, old in
                   zip((t, *(rgb[i] * shade for i in range(3))), state, strict=True))

    clear = (jnp.full((1, count**2), jnp.inf), *3 * (jnp.full((1, count**2),
                                                              figurines.BACKGROUND),))
    t, *rgb = _over_solids(nearer, clear, obj.solids)
    pixels = lambda a: a.reshape(size, samples, size, samples).mean((1, 3))
    return jnp.clip(jnp.stack([pixels(c) for c in rgb], -1), 0, 1), pixels(
        jnp.isfinite(t).astype(jnp.float32))
  return jax.lax.map(one, (objects, c2w))

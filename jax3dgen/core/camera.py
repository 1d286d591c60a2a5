"""Orbit cameras, their rays, and the pose class of an azimuth.

Convention of the whole project: azimuth 0 looks at the front of the object (+x), azimuth 90 degrees
at its left side (+y), elevation is positive above. Pose classes are centred: front is [-45, 45).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.types import Camera, Rays

VIEWS = ('front', 'back', 'left', 'right')  # the order of pose classes everywhere
SECTORS = ('front', 'left', 'back', 'right')  # the same as azimuths grow: 0, 90, 180, 270 degrees
SIDE = jnp.pi / 4  # a view is front within this of azimuth 0, back within this of 180 degrees


def look_at(eye, target, up=(0.0, 0.0, 1.0)):
  """Camera-to-world [..., 4, 4] of a camera at `eye` [..., 3] that looks at `target` [..., 3].

  x right, y up, looks along -z; the rotation has determinant +1. `up` must not be parallel to the
  line of sight.
  """
  eye, target, up = jnp.broadcast_arrays(
      *(jnp.asarray(x, jnp.float32) for x in (eye, target, up)))
  back = eye - target
  back = back / jnp.linalg.norm(back, axis=-1, keepdims=True)
  right = jnp.cross(up, back)
  right = right / jnp.linalg.norm(right, axis=-1, keepdims=True)
  rotation = jnp.stack([right, jnp.cross(back, right), back], -1)
  top = jnp.concatenate([rotation, eye[..., None]], -1)
  bottom = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0], jnp.float32), top.shape[:-2] + (1, 4))
  return jnp.concatenate([top, bottom], -2)


def orbit(azimuth, elevation, distance, fovy, orthographic=False):
  """Cameras [B] that look at the origin from the given spherical coordinates (radians, units)."""
  azimuth, elevation, distance, fovy = (
      jnp.atleast_1d(jnp.asarray(x, jnp.float32)) for x in (azimuth, elevation, distance, fovy))
  azimuth, elevation, distance, fovy = jnp.broadcast_arrays(azimuth, elevation, distance, fovy)
  flat = jnp.cos(elevation)
  eye = distance[:, None] * jnp.stack(
      [flat * jnp.cos(azimuth), flat * jnp.sin(azimuth), jnp.sin(elevation)], -1)
  return Camera(look_at(eye, jnp.zeros_like(eye)), azimuth, elevation, distance, fovy, orthographic)


def rays(camera, height, width):
  """Rays [B, H, W, 3] through the pixel centres, row 0 at the top, unit directions."""
  half = jnp.tan(0.5 * camera.fovy)[:, None, None]
  y = half * (1.0 - 2.0 * (jnp.arange(height, dtype=jnp.float32) + 0.5) / height)[None, :, None]
  x = half * ((2.0 * (jnp.arange(width, dtype=jnp.float32) + 0.5) - width) / height)[None, None, :]
  x, y = jnp.broadcast_arrays(x, y)
  rotation, eye = camera.c2w[:, :3, :3], camera.c2w[:, None, None, :3, 3]
  if camera.orthographic:
    scale = camera.distance[:, None, None]
    offset = jnp.stack([x * scale, y * scale, jnp.zeros_like(x)], -1)
    origin = eye + jnp.einsum('bij,bhwj->bhwi', rotation, offset)
    direction = jnp.broadcast_to(-rotation[:, None, None, :, 2], origin.shape)
    return Rays(origin, direction)
  # Sums instead of a contraction over 3 fuse with what follows: 40 times faster on a CPU.
  right, up, back = (rotation[:, None, None, :, i] for i in range(3))
  direction = right * x[..., None] + up * y[..., None] - back
  direction = direction * jax.lax.rsqrt(1.0 + x * x + y * y)[..., None]
  return Rays(jnp.broadcast_to(eye, direction.shape), direction)


def wrap(angle):
  """The same angle in [-pi, pi)."""
  return jnp.mod(angle + jnp.pi, 2 * jnp.pi) - jnp.pi


def view_class(azimuth):
  """Index into VIEWS of an azimuth [...]: bins of 90 degrees, centred on the axes."""
  quarter = jnp.floor(jnp.mod(azimuth + SIDE, 2 * jnp.pi) / (jnp.pi / 2)).astype(jnp.int32) % 4
  return jnp.array([0, 2, 1, 3], jnp.int32)[quarter]  # counter-clockwise: front, left, back, right


def sample_orbit(key_shared, key, batch, index, count, elevation, distance, fovy, sectors=(),
                 by_area=0.0, by_area_range=()):
  """The `batch` cameras of this device, of `count * batch` on all devices.

  Azimuths are stratified over the circle across all devices, with one common random rotation from
  `key_shared` (equal on all devices) and a jitter from `key`; `index` is the device's number.
  `elevation`, `distance` and `fovy` are (low, high) ranges, uniform. The share `by_area` of the
  elevations is uniform over the sphere, in their sine, within `by_area_range` (() is `elevation`),
  the others in angle. With `sectors`, the
  shares of K equal sectors of which the first is centred on azimuth 0, azimuths are uniform only
  within each (RecDreamer's q-sampling).
  """
  k_az, k_el, k_d, k_f = jax.random.split(key, 4)
  stratum = index * batch + jnp.arange(batch)
  turn = jax.random.uniform(key_shared)
  azimuth = (stratum + jax.random.uniform(k_az, (batch,))) / (batch * count) + turn
  if sectors:
    edges = np.cumsum([0.0, *sectors]) / sum(sectors)
    place = (np.arange(len(edges)) - 0.5) / len(sectors)
    azimuth = jnp.interp(azimuth % 1.0, edges, place)
  uniform = lambda k, r: jax.random.uniform(k, (batch,), minval=r[0], maxval=r[1])
  height = uniform(k_el, elevation)
  if by_area and elevation[0] < elevation[1]:
    low, high = np.sin(by_area_range or elevation)
    place = (height - elevation[0]) / (elevation[1] - elevation[0])
    area_uniform = jax.random.uniform(jax.random.fold_in(k_el, 1), (batch,)) < by_area
    height = jnp.where(area_uniform, jnp.arcsin(low + (high - low) * place), height)
  return orbit(wrap(2 * jnp.pi * azimuth), height, uniform(k_d, distance), uniform(k_f, fovy))


@functools.partial(jax.jit, static_argnums=0)
def ring(count, elevation, distance, fovy):
  """`count` cameras evenly round the object, the first facing its front, counter-clockwise."""
  azimuth = jnp.arange(count, dtype=jnp.float32) * (2 * jnp.pi / count)
  return orbit(azimuth, elevation, distance, fovy)

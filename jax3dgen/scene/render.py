"""Volume rendering along rays with a fixed number of samples.

Axes: R rays, S samples. Lengths are in scene units (objects fit the unit ball), densities in
1/unit. `edges` [S+1, R] are distances along the ray and bound the intervals, `mids` [S, R] are the
places inside them where the field is read. Samples come first here and components before them
([3, S, R]): every sum along a ray is then a sum of contiguous rows. Results put samples last.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jax3dgen.core import camera as cameras
from jax3dgen.core import rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Rays, Rendering
from jax3dgen.scene import shading

PDF_FLOOR = 1e-5  # added to the weights of all intervals in importance sampling
NORMAL_FLOOR = 1e-5  # lower bound of a density gradient's length in its normalisation


class RenderOptions(NamedTuple):
  """Static settings of `render_rays`.

  `n_samples` stratified intervals, `n_importance` further edges by importance sampling; the scene
  is a ball of `radius` round the origin, and rays start at the distance `near`. `normals` is None,
  'analytic' (gradient of the density) or 'finite' (central differences over `eps`).
  """
  n_samples: int = 64
  n_importance: int = 0
  radius: float = 1.0
  near: float = 0.1
  normals: str | None = None
  eps: float = 0.01


def intervals(origin, direction, radius, near):
  """Distances (first [R], last [R]) between which rays [3, R] are inside the ball.

  A ray that misses the ball, or leaves it before `near`, gets an interval of length 0.
  """
  middle = -jnp.sum(origin * direction, 0)
  inside = radius**2 - (jnp.sum(origin * origin, 0) - middle**2)
  hit = inside > 0
  half = jnp.where(hit, jnp.sqrt(jnp.where(hit, inside, 1.0)), 0.0)
  last = jnp.maximum(middle + half, near)
  return jnp.minimum(jnp.maximum(middle - half, near), last), last


def stratified(first, last, count):
  """Edges [count + 1, R] of equal intervals."""
  part = jnp.linspace(0.0, 1.0, count + 1)[:, None]
  return first[None] + part * (last - first)[None]


def places(key, edges):
  """One distance [S, R] inside each interval: uniform, or its centre where `key` is None."""
  low, high = edges[:-1], edges[1:]
  part = 0.5 if key is None else jax.random.uniform(key, low.shape)
  return low + part * (high - low)


def importance(key, edges, weights, count):
  """Edges [S + 1 + count, R]: `count` more, placed by inverting the cdf of `weights` [S, R].

  Uniform levels of the cdf are jittered within their strata, or centred where `key` is None.
  """
  pdf = weights + PDF_FLOOR
  cdf = _cumulative(pdf / pdf.sum(0, keepdims=True))
  jitter = 0.5 if key is None else jax.random.uniform(key, (count, edges.shape[1]))
  level = jnp.broadcast_to((jnp.arange(count, dtype=jnp.float32)[:, None] + jitter) / count,
                           (count, edges.shape[1]))
  new = jax.vmap(jnp.interp, in_axes=1, out_axes=1)(level, cdf, edges)
  return jnp.sort(jnp.concatenate([edges, new]), axis=0)


def _cumulative(x):
  """Sums [S + 1, R] of the first 0, 1, ... S rows of x [S, R], as one triangular product."""
  count = x.shape[0]
  lower = jnp.tril(jnp.ones((count + 1, count), x.dtype), -1)
  return jnp.matmul(lower, x, precision=jax.lax.Precision.HIGHEST)


def optical_weights(density, edges):
  """density [S, R], edges [S + 1, R] -> weights [S, R] of the intervals in the ray's colour.

  w_i = T_i (1 - exp(-density_i length_i)); they sum to 1 - exp(-optical depth).
  """
  depth = density * (edges[1:] - edges[:-1])
  return jnp.exp(-_cumulative(depth)[:-1]) * -jnp.expm1(-depth)


def normals_of(density, points, method, eps):
  """Unit outward normals [3, S, R] of a density function at points [3, S, R]."""
  if method == 'analytic':
    value, pull = jax.vjp(density, points)
    (slope,) = pull(jnp.ones_like(value))
  elif method == 'finite':
    steps = eps * jnp.eye(3, dtype=points.dtype).reshape(3, 3, 1, 1)
    slope = jnp.stack([density(points + h) - density(points - h) for h in steps])
  else:
    raise ConfigError(f"Normals are 'analytic' or 'finite', not {method!r}.")
  length2 = jnp.sum(slope * slope, 0, keepdims=True)
  return -slope * jax.lax.rsqrt(jnp.maximum(length2, NORMAL_FLOOR**2))


def render_rays(key, query, params, rays, opts, frac=1.0):
  """Rays [..., 3] through the field `query` (params, xyz, frac) -> Rendering, no background.

  `key` None means centred samples. Sample positions are not differentiated.
  """
  chex.assert_equal_shape([rays.origin, rays.direction])
  chex.assert_shape(rays.origin, (..., 3))
  shape = rays.origin.shape[:-1]
  origin = jnp.moveaxis(rays.origin.reshape(-1, 3), -1, 0)
  direction = jnp.moveaxis(rays.direction.reshape(-1, 3), -1, 0)
  stream = lambda name: None if key is None else rng.stream(key, name)
  at = lambda mids: origin[:, None] + direction[:, None] * mids[None]
  evaluate = lambda params, points: query(params, jnp.moveaxis(points, 0, -1), frac)

  edges = stratified(*intervals(origin, direction, opts.radius, opts.near), opts.n_samples)
  if opts.n_importance:
    coarse = evaluate(jax.lax.stop_gradient(params), at(places(stream('coarse'), edges)))
    weights = optical_weights(coarse.density, edges)
    edges = jax.lax.stop_gradient(
        importance(stream('importance'), edges, weights, opts.n_importance))
  mids = places(stream('samples'), edges)
  points = at(mids)
  sample = evaluate(params, points)
  weights = optical_weights(sample.density, edges)

  last = lambda x: jnp.moveaxis(x, 0, -1).reshape(shape + (-1,))
  rgb = jnp.sum(weights[None] * jnp.moveaxis(sample.rgb, -1, 0), 1)
  normal = sample_normals = None
  if opts.normals:
    each = normals_of(lambda p: evaluate(params, p).density, points, opts.normals, opts.eps)
    normal = last(jnp.sum(weights[None] * each, 1))
    sample_normals = jnp.moveaxis(each, (1, 0), (-2, -1)).reshape(shape + (-1, 3))
  depth = jnp.sum(weights * mids, 0).reshape(shape)
  return Rendering(last(rgb), weights.sum(0).reshape(shape), depth,
                   normal, last(weights), last(mids), sample_normals)


def render_image(query, params, camera, size, opts, background, frac=1.0, chunk=4096):
  """Images [B, H, W, 3] over `background` (direction -> colour), centred samples.

  `size` is the side, or (height, width). Rays are rendered in chunks, so that memory does not grow
  with the image. Pure and jittable; B, `size`, `opts` and `chunk` are static.
  """
  height, width = (size, size) if isinstance(size, int) else size
  rays = cameras.rays(camera, height, width)
  total = rays.origin.size // 3
  chunk = min(chunk, total)
  padding = -total % chunk
  cut = lambda x: jnp.pad(x.reshape(-1, 3), ((0, padding), (0, 0)),
                          mode='edge').reshape(-1, chunk, 3)

  def part(piece):
    out = render_rays(None, query, params, piece, opts, frac)
    return out.rgb, out.opacity

  rgb, opacity = jax.lax.map(part, Rays(cut(rays.origin), cut(rays.direction)))
  rgb = rgb.reshape(-1, 3)[:total].reshape(rays.origin.shape)
  opacity = opacity.reshape(-1)[:total].reshape(rays.origin.shape[:-1])
  return shading.over(rgb, opacity, background(rays.direction))

"""Backgrounds, and shading by a point light.

A background is a function direction [B, H, W, 3] -> colours [B, H, W, 3] (any leading axes where it
does not depend on the image). Colours are sRGB in [0, 1] and are composited in sRGB, as in the
score distillation literature.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax3dgen.core.errors import ConfigError

AMBIENT, DIFFUSE = 0.1, 0.9  # of threestudio's diffuse material


def over(rgb, opacity, background):
  """Premultiplied rgb [..., 3] with opacity [...] over background [..., 3]."""
  return rgb + (1.0 - opacity)[..., None] * background


def composite(rendering, background):
  """The image [..., 3] of a Rendering over background colours [..., 3]."""
  return over(rendering.rgb, rendering.opacity, background)


def constant(color):
  """Background of one colour (3 numbers)."""
  return lambda direction: jnp.broadcast_to(jnp.asarray(color, direction.dtype), direction.shape)


def random_color(key):
  """Background of one uniformly random colour per image (leading axis)."""
  def background(direction):
    shape = (direction.shape[0],) + (1,) * (direction.ndim - 2) + (3,)
    return jnp.broadcast_to(jax.random.uniform(key, shape), direction.shape)
  return background


def gradient(nadir, zenith):
  """Background that goes linearly with the height of the ray's direction (unit, +z is up)."""
  def background(direction):
    low, high = (jnp.broadcast_to(jnp.asarray(c, direction.dtype), direction.shape)
                 for c in (nadir, zenith))
    part = 0.5 * (direction[..., 2:] + 1.0)
    return low + part * (high - low)
  return background


def light_dreamfusion(key, camera):
  """Positions [B, 3]: direction normalise(camera position + N(0, 1)), distance in [0.8, 1.5]."""
  k_offset, k_distance = jax.random.split(key)
  eye = camera.c2w[:, :3, 3]
  toward = eye + jax.random.normal(k_offset, eye.shape)
  toward = toward / jnp.linalg.norm(toward, axis=-1, keepdims=True)
  return toward * _distance(k_distance, eye.shape[0])


def light_magic3d(key, camera):
  """Positions [B, 3] within 60 degrees of the line from the origin to the camera.

  Distances are uniform in [0.8, 1.5]. In the frame whose pole is that line, elevation is uniform in
  [30, 90] degrees.
  """
  k_elevation, k_azimuth, k_distance = jax.random.split(key, 3)
  batch = camera.c2w.shape[0]
  elevation = jnp.deg2rad(jax.random.uniform(k_elevation, (batch,), minval=30.0, maxval=90.0))
  azimuth = jax.random.uniform(k_azimuth, (batch,), maxval=2 * jnp.pi)
  flat = jnp.cos(elevation)
  local = jnp.stack([flat * jnp.cos(azimuth), flat * jnp.sin(azimuth), jnp.sin(elevation)], -1)
  toward = jnp.einsum('bij,bj->bi', camera.c2w[:, :3, :3], local)
  return toward * _distance(k_distance, batch)


def _distance(key, batch):
  return jax.random.uniform(key, (batch, 1), minval=0.8, maxval=1.5)


LIGHTS = {'dreamfusion': light_dreamfusion, 'magic3d': light_magic3d}


def shade(rendering, rays, light, textureless=False, ambient=AMBIENT, diffuse=DIFFUSE):
  """The Rendering [B, ..., 3] lit by point lights [B, 3], one per camera; needs sample normals.

  Every sample reflects ambient + diffuse max(0, n.l) of its albedo; `textureless` (bool or traced)
  takes white for all albedos. The light of a ray is the weighted mean of its samples' light, times
  its composited albedo: exact where either is constant along the ray.
  """
  if rendering.sample_normals is None:
    raise ConfigError("Shading needs normals: set render.normals to 'analytic' or 'finite'.")
  points = rays.origin[..., None, :] + rendering.mids[..., None] * rays.direction[..., None, :]
  lights = light.reshape(light.shape[:1] + (1,) * (points.ndim - 2) + (3,))
  toward = jnp.broadcast_to(lights, points.shape) - points
  length2 = jnp.sum(toward * toward, -1)
  cosine = jnp.sum(rendering.sample_normals * toward, -1) * jax.lax.rsqrt(
      jnp.maximum(length2, 1e-12))
  shading = jnp.sum(rendering.weights * (ambient + diffuse * jnp.maximum(cosine, 0.0)), -1)
  mean = shading / jnp.maximum(rendering.opacity, 1e-5)
  white = jnp.broadcast_to(shading[..., None], rendering.rgb.shape)
  return rendering.replace(rgb=jnp.where(textureless, white, rendering.rgb * mean[..., None]))


class Style(NamedTuple):
  """The shading of one batch: traced booleans []."""
  shaded: jax.Array
  textureless: jax.Array


def draw_style(key, step, albedo_steps=1000, shaded=0.75, textureless=0.5):
  """A random Style: albedo for `albedo_steps`, then shaded, and textureless, with probabilities."""
  k_shaded, k_textureless = jax.random.split(key)
  lit = jax.random.bernoulli(k_shaded, shaded) & (step >= albedo_steps)
  return Style(lit, lit & jax.random.bernoulli(k_textureless, textureless))


def apply_style(style, rendering, rays, light):
  """The Rendering in a Style: albedo, Lambertian or textureless."""
  lit = shade(rendering, rays, light, style.textureless)
  return rendering.replace(rgb=jnp.where(style.shaded, lit.rgb, rendering.rgb))

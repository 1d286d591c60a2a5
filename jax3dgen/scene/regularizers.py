"""Penalties on a Rendering; each is a scalar (rendering, direction [..., 3] of the rays) -> [].

O is the opacity of a ray, w_i the weights of its samples, t_i their distances, n_i their normals.
"""

import jax
import jax.numpy as jnp

from jax3dgen.core.errors import ConfigError


def _binary_entropy(p):
  """Entropy in nats of probabilities strictly between 0 and 1."""
  return -(p * jnp.log(p) + (1.0 - p) * jnp.log1p(-p))


def opaque(rendering, direction=None):
  """Mean binary entropy of O in nats, clipped to [1e-3, 1 - 1e-3]: rays are empty or opaque."""
  return _binary_entropy(jnp.clip(rendering.opacity, 1e-3, 1.0 - 1e-3)).mean()


def opacity(rendering, direction=None):
  """Mean O^2 (ProlificDreamer's opacity loss)."""
  return jnp.square(rendering.opacity).mean()


def sparsity(rendering, direction=None):
  """Mean sqrt(O^2 + 0.01) (threestudio): little opacity."""
  return jnp.sqrt(jnp.square(rendering.opacity) + 0.01).mean()


def entropy(rendering, direction=None):
  """Mean binary entropy in bits of every sample's weight, clipped at 1e-5 (ProlificDreamer)."""
  return _binary_entropy(jnp.clip(rendering.weights, 1e-5, 1.0 - 1e-5)).mean() / jnp.log(2.0)


def z_variance(rendering, direction=None):
  """Variance of t under w / O, averaged over the rays with O > 0.5; 0 where there are none."""
  weights = rendering.weights / jnp.maximum(rendering.opacity, 1e-5)[..., None]
  mean = jnp.sum(weights * rendering.mids, -1, keepdims=True)
  variance = jnp.sum(weights * jnp.square(rendering.mids - mean), -1)
  solid = rendering.opacity > 0.5
  return jnp.sum(jnp.where(solid, variance, 0.0)) / jnp.maximum(solid.sum(), 1)


def orientation(rendering, direction):
  """sum_i w_i max(n_i.d, 0)^2 over the rays with O > 0, w not differentiated (Ref-NeRF Eq. 11)."""
  if rendering.sample_normals is None:
    raise ConfigError("The orientation penalty needs normals: set render.normals to 'analytic' or "
                      "'finite'.")
  away = jnp.maximum(jnp.sum(rendering.sample_normals * direction[..., None, :], -1), 0.0)
  total = jnp.sum(jax.lax.stop_gradient(rendering.weights) * jnp.square(away))
  return total / jnp.maximum(jnp.sum(rendering.opacity > 0), 1)


def convexity(rendering, direction=None):
  """threestudio's convexity loss for SDI: -(mean z of left x right + mean z of down x up).

  The vectors are the pixels of the composited normals [B, H, W, 3], of unit length and then O (n +
  1) / 2, averaged bilinearly to 8 x 8 without antialiasing.
  """
  if rendering.normal is None:
    raise ConfigError("The convexity penalty needs normals: set render.normals to 'analytic' or "
                      "'finite'.")
  length2 = jnp.sum(jnp.square(rendering.normal), -1, keepdims=True)
  unit = rendering.normal * jax.lax.rsqrt(jnp.maximum(length2, 1e-12))
  picture = 0.5 * (unit + 1.0) * rendering.opacity[..., None]
  small = jax.image.resize(picture, (*picture.shape[:-3], 8, 8, 3), 'linear', antialias=False)
  across = jnp.cross(small[..., :, :-1, :], small[..., :, 1:, :])[..., 2]
  up = jnp.cross(small[..., 1:, :, :], small[..., :-1, :, :])[..., 2]
  return -(across.mean() + up.mean())


TERMS = {'opaque': opaque, 'opacity': opacity, 'sparsity': sparsity, 'entropy': entropy,
         'z_variance': z_variance, 'orientation': orientation, 'convexity': convexity}

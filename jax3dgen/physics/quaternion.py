"""Rotations as unit quaternions (w, x, y, z) [4]; `jax.vmap` for batches."""

import jax.numpy as jnp


def from_vector(vector):
  """The rotation [4] of a rotation vector [3] (radians); differentiable at 0."""
  square = vector @ vector
  angle = jnp.sqrt(jnp.where(square > 0, square, 1.0))
  half = jnp.where(square > 0, 0.5 * angle, 0.0)
  return jnp.concatenate([
      jnp.cos(half)[None], jnp.where(square > 0, jnp.sin(half) / angle, 0.5) * vector])


def product(p, q):
  """The rotation p after the rotation q."""
  return jnp.concatenate([(p[0] * q[0] - p[1:] @ q[1:])[None],
                          p[0] * q[1:] + q[0] * p[1:] + jnp.cross(p[1:], q[1:])])


def matrix(quaternion):
  """The rotation matrix [3, 3]."""
  w, x, y, z = quaternion
  return jnp.stack([
      jnp.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
      jnp.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
      jnp.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)])])

"""Smoothness penalties of a padded triangle mesh, differentiable with respect to its vertices.

Axes: V vertices, F faces. Padding faces are those where `mask` [F] is False.
"""

import jax
import jax.numpy as jnp

from jax3dgen.scene import connectivity


def laplacian(vertices, links):
  """Mean over the neighbours minus the vertex, [V, 3], for links [E, 2] in both directions; 0 for a
  vertex without neighbours. Links from a vertex to itself do not count."""
  weight = (links[:, 0] != links[:, 1]).astype(vertices.dtype)
  count = jax.ops.segment_sum(weight, links[:, 0], len(vertices))
  total = jax.ops.segment_sum(weight[:, None] * vertices[links[:, 1]], links[:, 0], len(vertices))
  mean = total / jnp.maximum(count, 1.0)[:, None]
  return jnp.where(count[:, None] > 0, mean - vertices, 0.0)


def smoothness(vertices, faces, mask):
  """Mean length of the uniform Laplacian over the vertices of the faces of a closed mesh."""
  rough = laplacian(vertices, connectivity.links(jnp.where(mask[:, None], faces, 0)))
  square = jnp.sum(rough**2, -1)
  length = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
  used = jnp.zeros(len(vertices), bool).at[faces].max(mask[:, None])
  return length.sum() / jnp.maximum(used.sum(), 1)


def normal_consistency(vertices, faces, twin):
  """Mean of 1 - cos of the angle between the normals of neighbouring faces, over the edges that
  join two; `twin` [F, 3] is `connectivity.twins`. Faces without area have the normal 0."""
  a, b, c = jnp.moveaxis(vertices[faces], 1, 0)
  cross = jnp.cross(b - a, c - a)
  square = jnp.sum(cross**2, -1, keepdims=True)
  normal = jnp.where(square > 0, cross * jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)
  counted = (twin >= 0) & (twin // 3 > jnp.arange(len(faces))[:, None])  # an edge counts once
  cosine = jnp.sum(normal[:, None] * normal[twin // 3], -1)
  return jnp.sum(jnp.where(counted, 1.0 - cosine, 0.0)) / jnp.maximum(counted.sum(), 1)

"""The stability margin of soft occupancies, differentiable: for guidance of 3D generators.

A body that stands on its lowest layer of voxels tips about the edge of its support polygon that is
nearest to its centre of mass. Here layer, polygon and centre are those of occupancies between 0 and
1, so that the margin has gradients in all of them. Axes: B bodies, R voxels per side (x, y, z up),
D horizontal directions, N = R^2 columns.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

DIRECTIONS = 32
SHARPNESS = 4.0  # of the soft maximum over the columns, per voxel
# Of the occupancies in it: they fall by a factor of e^2.5 per voxel beside a surface, and columns
# outside must not outweigh those of the sole.
POWER = 4.0
LEAST = 1e-12  # occupancies and masses below it count as this


def margin(occupancy):
  """Radians [B] by which bodies [B, R, R, R] can be tilted before they tip; negative where the
  centre of mass lies outside the support.

  atan(e / h) with the height h of the centre of mass above the sole and the least distance e of it
  from the edge of the support polygon, over DIRECTIONS directions. Empty bodies have about 0.
  """
  chex.assert_rank(occupancy, 4)
  size = occupancy.shape[-1]
  place = (jnp.arange(size) + 0.5) / size - 0.5
  mass = jnp.maximum(occupancy.sum((1, 2, 3)), LEAST)
  along = lambda axes: (occupancy.sum(axes) * place[None]).sum(-1) / mass
  center = jnp.stack([along((2, 3)), along((1, 3))], -1)  # [B, 2]
  lowest = first_layer(occupancy)
  sole = (lowest * place[None]).sum(-1) / jnp.maximum(lowest.sum(-1), LEAST) - 0.5 / size
  contact = jnp.einsum('bxyz,bz->bxy', occupancy, lowest).reshape(len(occupancy), -1)
  angle = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
  direction = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], -1), jnp.float32)
  x, y = jnp.meshgrid(place, place, indexing='ij')
  column = jnp.stack([x.ravel(), y.ravel()], -1) @ direction.T  # [N, D]
  logits = SHARPNESS * size * column[None] + (
      POWER * jnp.log(jnp.maximum(contact, LEAST)))[..., None]
  support = (jax.nn.softmax(logits, 1) * column[None]).sum(1)
  # A voxel reaches beyond its centre by the support function of a square.
  reach = 0.5 / size * jnp.abs(direction).sum(-1)
  edge = (support + reach[None] - center @ direction.T).min(-1)
  return jnp.arctan2(edge, jnp.maximum(along((1, 2)) - sole, LEAST))


def first_layer(occupancy):
  """Probabilities [B, R] that each layer of occupancies [B, R, R, R] is the lowest that is not
  empty, with its largest occupancy as the probability that a layer is not empty."""
  filled = occupancy.max((1, 2))
  below = jnp.cumprod(1 - filled, -1)
  return filled * jnp.concatenate([jnp.ones_like(below[:, :1]), below[:, :-1]], -1)

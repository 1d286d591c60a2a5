"""A generator, for `config.generator.name`, of upright boxes as bright as the object is.

Its flow leads to one point, whose entries are the brightness of the object in the image; the
decoder makes a box of it, narrower at the bottom where it is dark, nothing where it is black.
"""

import jax.numpy as jnp

from jax3dgen.core.types import Cond
from jax3dgen.generator import base, flow

SHAPE, RESOLUTION = (2, 2, 2, 1), 16
DARK = 0.1


def load(weights):
  params = {'flow': jnp.zeros(1), 'decoder': jnp.zeros(1)}
  return base.Generator(None, embed, velocity, None, decode, SHAPE), params


def embed(params, images):
  light = (images[..., :3].mean(-1) * images[..., 3]).sum((1, 2)) / images[..., 3].sum((1, 2))
  return Cond(light[:, None, None])


def velocity(params, x_t, t, cond):
  return (x_t - flow.broadcast(cond.tokens[:, 0, 0], x_t)) / flow.broadcast(t, x_t)


def decode(params, x0):
  """Boxes .75 high and .5 wide; a dark one stands on a corner of .1 on the side of +x."""
  axis = (jnp.arange(RESOLUTION) + 0.5) / RESOLUTION - 0.5
  x, y, z = jnp.meshgrid(axis, axis, axis, indexing='ij')
  light = x0.mean((1, 2, 3, 4))[:, None, None, None]
  box = jnp.minimum(0.25 - jnp.maximum(jnp.abs(x), jnp.abs(y)), 0.375 - jnp.abs(z))
  corner = jnp.maximum(jnp.abs(x - 0.2) - 0.05, jnp.abs(y) - 0.05)
  dark = jnp.where(z < -0.2, jnp.minimum(box, -corner), box)
  logits = 20 * jnp.where(light > 0.4, box[None], dark[None])
  return jnp.where(light > DARK, logits, -1.0)

"""A generator of square towers that lean, and images of it: closed form, a fraction of a second.

A latent's mean in channel 0 is the tower's lean, Gaussian; a tower stands where the lean is small.
The flow has one adaptable kernel, of the latent and a constant, that can shift and shrink the lean.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.types import Cond
from jax3dgen.generator import base, flow
from jax3dgen.recipes.preference import problem
from jax3dgen.scene import voxels

SHAPE, R = (4, 4, 4, 2), 16
SPREAD = 0.6  # of an entry of a latent
STANDS = 1 / 3  # the lean at which the centre of mass leaves the support


def grid():
  axis = (jnp.arange(R) + 0.5) / R - 0.5
  return jnp.stack(jnp.meshgrid(axis, axis, axis, indexing='ij'), -1)


def lean(latent):
  """The lean [B] of latents [B, ...]."""
  return 8.0 * latent[..., 0].mean((1, 2, 3))


def towers(lean):
  """Logits [B, R, R, R] of towers: about the distance in voxels times 4."""
  x, y, z = jnp.moveaxis(grid(), -1, 0)[:, None]
  side = jnp.maximum(jnp.abs(x - lean[:, None, None, None] * (z + 0.45)), jnp.abs(y))
  return 4 * R * jnp.minimum(0.15 - side, 0.42 - jnp.abs(z))


def velocity(params, x, t, cond):
  t = flow.broadcast(t, x)
  m, variance = flow.broadcast(cond.tokens.mean((1, 2)), x), (1 - t)**2 * SPREAD**2 + t**2
  v = -m + (t - (1 - t) * SPREAD**2) / variance * (x - (1 - t) * m)
  features = jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1)
  return v + jnp.einsum('...i,io->...o', features, params['flow']['self_attn']['to_qkv']['kernel'])


GENERATOR = base.Generator(
    init=lambda key: {'flow': {'self_attn': {'to_qkv': {'kernel': jnp.zeros((3, 2))}}},
                      'decoder': {'scale': jnp.ones(())}},
    embed=lambda params, images: Cond(0.01 * images[..., :3].mean((1, 2))[:, None]),
    velocity=velocity, encode=None,
    decode=lambda params, x0: towers(params['decoder']['scale'] * lean(x0)), shape=SHAPE)


def load(weights=None):
  return GENERATOR, GENERATOR.init(jax.random.key(0))


def images(count, seed):
  """`count` images of two objects each, all of the upright tower."""
  tokens = 0.02 * np.random.default_rng(seed).standard_normal((count, 1, 3), np.float32)
  true = np.asarray(towers(jnp.zeros(count)))
  return problem.Images(Cond(tokens), np.arange(count) // 2, true > 0,
                        lambda i: voxels.mesh(true[i]))


def make(pool=6, validation=2, test=3):
  """The Problem of these images."""
  return problem.Problem(*load(), images(pool, 1), images(validation, 2), images(test, 3))

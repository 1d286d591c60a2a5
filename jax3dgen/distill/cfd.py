"""Consistent flow distillation (Yan et al. 2025): noise attached to the surface.

g = w(t) (eps_guided(x_t) - n), where n is a function of points in the world: two cameras get the
same noise at the same point. Points are grouped by the cells of a regular grid, whose width should
be that of a pixel there, and every cell has a normal number for each channel. `refresh` is the
share of the cells with new numbers from one step to the next; 0 is the deterministic form, 1 is SDS
with noise that views share. The original integrates noise over the area of a pixel, which keeps it
white where pixels are smaller than cells; here such pixels share one number. Rays that miss the
object get independent noise.
"""

import jax
import jax.numpy as jnp

from jax3dgen.core import rng
from jax3dgen.distill import base, sds

DEFAULTS = {
    'guidance': 4.0,  # classifier-free guidance scale
    'weighting': 'sigma',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
    'clip': True,  # clip the clean estimate to the range of images
    'cell': 0.066,  # width of a cell of noise in scene units: a pixel of the embedded prior
    'refresh': 0.01,  # share of the cells with new noise in each step
}
# The authors' scale; their w(t), that of DMD, and their noise on triplanes are not implemented.
LATENT = {'guidance': 75.0, 'weighting': 'sds', 'clip': False, 'cell': 0.02}


def init(key, params, cfg):
  # Buffers are floats that devices average; rounding recovers the whole number.
  return base.DistillState({'seed': jnp.floor(2**23 * jax.random.uniform(key))}, {})


def surface_noise(seed, points, channels, step, cell, refresh):
  """Standard normal numbers [B, h, w, channels], by `seed`, for world points [B, h, w, 3]."""
  key = jax.random.key(jnp.round(seed).astype(jnp.int32))
  cells = jnp.floor(points / cell).astype(jnp.int32) & 1023
  index = (cells[..., 0] << 20) | (cells[..., 1] << 10) | cells[..., 2]

  def of_cell(index):
    cell_key = jax.random.fold_in(key, index)
    age = jnp.floor(step * refresh + jax.random.uniform(cell_key)).astype(jnp.int32)
    return jax.random.normal(jax.random.fold_in(cell_key, age), (channels,))
  return jax.vmap(of_cell)(index.reshape(-1)).reshape(*points.shape[:-1], channels)


def direction(key, view, prior, params, state, cfg):
  background = jax.random.normal(rng.stream(key, 'background'), view.x0.shape)
  surface = surface_noise(state.buffers['seed'], view.points, background.shape[-1], view.step,
                          cfg.cell, cfg.refresh)
  inside = jnp.sum(view.points**2, -1, keepdims=True) < 1
  noise = jnp.where(inside, surface, background)
  x_t = base.noise_to(prior, view.x0, view.t, noise)
  eps_hat = sds.predict(prior, params, x_t, view, cfg)
  g = sds.weight(cfg.weighting, prior, view.t, x_t) * (eps_hat - noise)
  return g, state, base.residual(g)


DISTILLATION = base.Distillation(init, direction)

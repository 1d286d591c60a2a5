"""Sampling of a rectified flow, as TRELLIS does it (Xiang et al. 2025), and its conversions.

x_t = (1 - t) x_0 + (s + (1 - s) t) eps and v = (1 - s) eps - x_0; s is `sigma_min`, 1e-5 in the
training of TRELLIS and 0 in DSO and here unless given. Arrays are [B, ...], t is [B].
"""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.errors import ConfigError


def noise_scale(t, sigma_min):
  """s + (1 - s) t, the factor of eps in x_t."""
  return sigma_min + (1 - sigma_min) * t


def broadcast(t, x):
  """t [B] shaped to multiply x [B, ...]."""
  return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))


def add_noise(x0, t, eps, sigma_min=0.0):
  """x_t [B, ...] of clean x0 [B, ...] and noise eps [B, ...] at t [B]."""
  t = broadcast(t, x0)
  return (1 - t) * x0 + noise_scale(t, sigma_min) * eps


def velocity(x0, eps, sigma_min=0.0):
  """The target v of the network for clean x0 and noise eps."""
  return (1 - sigma_min) * eps - x0


def to_eps(x_t, t, v):
  """The noise that a velocity implies, (1 - t) v + x_t for every s."""
  return (1 - broadcast(t, x_t)) * v + x_t


def to_x0(x_t, t, v, sigma_min=0.0):
  """The clean estimate that a velocity implies."""
  return (1 - sigma_min) * x_t - noise_scale(broadcast(t, x_t), sigma_min) * v


def time_grid(steps, rescale_t=1.0):
  """Noise levels [steps + 1] from 1 to 0, float64 on the host: t = r u / (1 + (r - 1) u), u linear.

  In float32 a level may miss the bound of the guidance interval on which it lies.
  """
  if steps < 1 or not rescale_t > 0:
    raise ConfigError(f'The sampler needs 1 step or more and a positive rescale_t, not {steps} and '
                      f'{rescale_t}.')
  u = np.linspace(1.0, 0.0, steps + 1)
  return rescale_t * u / (1 + (rescale_t - 1) * u)


def guided(generator, params, x_t, t, cond, null, guidance):
  """(1 + w) v(cond) - w v(null), TRELLIS's form with w = `guidance`: one call on 2 B rows."""
  double = lambda a, b: jnp.concatenate([a, b])
  both = generator.velocity(params, double(x_t, x_t), double(t, t),
                            jax.tree.map(double, cond, null))
  v_cond, v_null = jnp.split(both, 2)
  return (1 + guidance) * v_cond - guidance * v_null


def integrate(noise, generator, params, cond, null, steps=12, rescale_t=3.0, guidance=7.5,
              interval=(0.5, 1.0), adjust=None):
  """x_0 [B, ...] from noise [B, ...] by Euler steps along the velocity under `cond`.

  `null` is the condition of guidance (TRELLIS: zeros); it is evaluated only where the noise level
  lies in `interval`, both ends included: with 12 steps and rescale_t = 3 in 10 of them. `adjust`
  (x_t, t [B], v) -> v may change the velocity (`feedback/reward`). The loop is Python's: compile
  `generator.velocity` (jit, or `core.parallel.split`) rather than the whole.
  """
  grid, x = time_grid(steps, rescale_t), noise
  low, high = interval
  for t, after in zip(grid[:-1], grid[1:]):
    level = jnp.full(len(x), t, jnp.float32)
    if guidance and low <= t <= high:
      v = guided(generator, params, x, level, cond, null, guidance)
    else:
      v = generator.velocity(params, x, level, cond)
    v = adjust(x, level, v) if adjust else v
    x = x - jnp.float32(t - after) * v
  return x


def sample(key, generator, params, cond, null, steps=12, rescale_t=3.0, guidance=7.5,
           interval=(0.5, 1.0)):
  """`integrate` from standard normal noise, one sample for each row of `cond`."""
  batch = len(jax.tree.leaves(cond)[0])
  noise = jax.random.normal(key, (batch, *generator.shape))
  return integrate(noise, generator, params, cond, null, steps, rescale_t, guidance, interval)

"""Guidance of a rectified flow by the gradient of a reward of the decoded clean estimate.

A way to better samples without training, for comparison with DSO; it is this project's, not the
paper's. Axes: B samples.
"""

import jax
import jax.numpy as jnp

from jax3dgen.generator import flow


def toward(decode, reward, scale, interval=(0.0, 0.7)):
  """An `adjust` of `flow.integrate` that moves the clean estimate up the gradient of a reward.

  decode: x_0 [B, ...] -> logits [B, R, R, R]; reward: occupancies [B, R, R, R] in [0, 1] -> [B],
  such as `physics.occupancy.margin`. The clean estimate moves by `scale` times the gradient over
  its root mean square, per sample, where the noise level lies in `interval`: above it the estimate
  is no object yet. A sample whose gradient is zero or not finite does not move.
  """
  slope = jax.jit(jax.grad(lambda x0: reward(jax.nn.sigmoid(decode(x0))).sum()))

  def adjust(x_t, t, v):
    if not interval[0] <= float(t[0]) <= interval[1]:
      return v
    g = slope(flow.to_x0(x_t, t, v))
    rms = jnp.sqrt(jnp.mean(g**2, tuple(range(1, g.ndim)), keepdims=True))
    step = jnp.where(jnp.isfinite(rms) & (rms > 0), g / jnp.where(rms > 0, rms, 1.0), 0.0)
    return v - scale * step / flow.broadcast(t, x_t)
  return adjust

"""Batch normalisation in inference mode."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
  """x [..., C] -> scale (x - mean) / sqrt(variance + epsilon) + bias, in float32.

  The running mean and variance are parameters with PyTorch's names, so that weight files hold them.
  """
  epsilon: float = 1e-5
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    ones, zeros = nn.initializers.ones, nn.initializers.zeros
    scale, bias, mean, variance = (
        self.param(name, start, x.shape[-1:], self.param_dtype).astype(jnp.float32)
        for name, start in (('scale', ones), ('bias', zeros), ('running_mean', zeros),
                            ('running_var', ones)))
    scale = scale * jax.lax.rsqrt(variance + self.epsilon)
    spread = lambda y: y.reshape((1,) * (x.ndim - 1) + (-1,))
    return x * spread(scale) + spread(bias - mean * scale)

"""The autoencoder of occupancy of TRELLIS (Xiang et al. 2025): modules are named as in its files.

Axes: B samples, R voxels per side of the occupancy, r voxels per side and c channels of a latent,
C channels, D, H and W voxels per side of a grid between them. R = r 2^(len(channels) - 1).
"""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from jax3dgen.nn import conv3d


def norm(name):
  """A layer norm over the channels in float32, with the published epsilon."""
  return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)


class Residual(nn.Module):
  """x [B, D, H, W, C] -> [B, D, H, W, C]: two convolutions with a skip; at first the identity."""
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    conv = lambda name, **init: conv3d.Conv3d(x.shape[-1], dtype=self.dtype,
                                              param_dtype=self.param_dtype, name=name, **init)
    h = conv('conv1')(nn.silu(norm('norm1')(x)))
    h = nn.silu(norm('norm2')(h))
    return x + conv('conv2', kernel_init=nn.initializers.zeros)(h)


class Resample(nn.Module):
  """x [B, D, H, W, C] -> [B, D', H', W', channels] of twice or, with `halve`, half the size."""
  channels: int
  halve: bool
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    conv = lambda channels: conv3d.Conv3d(channels, self.halve, dtype=self.dtype,
                                          param_dtype=self.param_dtype, name='conv')
    if self.halve:
      return conv(self.channels)(x)
    return conv3d.pixel_shuffle(conv(8 * self.channels)(x))


class Encoder(nn.Module):
  """occupancy [B, R, R, R] in {0, 1} -> the posterior's mean and log variance [B, r, r, r, 2 c].

  `channels` of the grids from fine to coarse, `depth` residual blocks at each of them, `middle` of
  them at last; `latent` is c. `dtype` and `param_dtype` are those of the convolutions between the
  first and the last, all else is float32. `remat` recomputes blocks in the backward pass.
  """
  channels: Sequence[int] = (32, 128, 512)
  latent: int = 8
  depth: int = 2
  middle: int = 2
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, occupancy):
    x = conv3d.Conv3d(self.channels[0], name='input_layer')(occupancy[..., None])
    x = stages(self, x.astype(self.dtype), halve=True)
    x = middle(self, x)
    return output(2 * self.latent, x)


class Decoder(nn.Module):
  """x_0 [B, r, r, r, c] -> logits [B, R, R, R], occupied where they are positive.

  `channels` of the grids from coarse to fine; the other fields are those of `Encoder`.
  """
  channels: Sequence[int] = (512, 128, 32)
  depth: int = 2
  middle: int = 2
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x0):
    x = conv3d.Conv3d(self.channels[0], name='input_layer')(x0)
    x = middle(self, x.astype(self.dtype))
    x = stages(self, x, halve=False)
    return output(1, x)[..., 0]


def stages(net, x, halve):
  """The residual blocks of `net` at each of its sizes, with a `Resample` between two of them."""
  types, count = {'dtype': net.dtype, 'param_dtype': net.param_dtype}, 0
  block = nn.remat(Residual) if net.remat else Residual
  for i, channels in enumerate(net.channels):
    if i:
      x = Resample(channels, halve, **types, name=f'blocks_{count}')(x)
      count += 1
    for _ in range(net.depth):
      x = block(**types, name=f'blocks_{count}')(x)
      count += 1
  return x


def middle(net, x):
  """The residual blocks of `net` at the size of the latent."""
  block = nn.remat(Residual) if net.remat else Residual
  for i in range(net.middle):
    x = block(net.dtype, net.param_dtype, name=f'middle_block_{i}')(x)
  return x


def output(channels, x):
  """The last norm and convolution of either net."""
  return conv3d.Conv3d(channels, name='conv_out')(nn.silu(norm('norm_out')(x)))

"""Convolutions of voxel grids [B, D, H, W, C], and the pixel shuffle in three dimensions."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp


def convolve(x, kernel):
  """x [B, D, H, W, C] with a kernel [3, 3, 3, C, E] and one voxel of zeros around: [B, D, H, W, E].

  On a CPU the library's 3D convolution runs at a fifth of the speed of its 2D one or less, so that
  it is computed as `in_slices` there.
  """
  if jax.default_backend() == 'cpu':
    return in_slices(x, kernel)
  return jax.lax.conv_general_dilated(x, kernel, (1, 1, 1), 'SAME',
                                      dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'))


def _slices(x, kernel):
  batch, depth, height, width, channels = x.shape
  padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
  near = jnp.concatenate([padded[:, i:i + depth] for i in range(3)], -1)
  kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(3, 3, 3 * channels, -1)
  output = jax.lax.conv_general_dilated(
      near.reshape(batch * depth, height, width, -1), kernel, (1, 1), 'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  return output.reshape(batch, depth, height, width, -1)


@jax.custom_vjp
def in_slices(x, kernel):
  """`convolve` by a 2D convolution of slices D whose channels are those of three neighbours.

  Its gradient with respect to x is such a convolution again, with the kernel reversed: that is
  several times faster than the transpose which JAX derives.
  """
  return _slices(x, kernel)


def _backward(residuals, g):
  x, kernel = residuals
  reverse = jnp.flip(kernel, (0, 1, 2)).swapaxes(3, 4)
  _, pull = jax.vjp(lambda kernel: _slices(x, kernel), kernel)
  return in_slices(g, reverse), pull(g)[0]


in_slices.defvjp(lambda x, kernel: (_slices(x, kernel), (x, kernel)), _backward)


def space_to_depth(x):
  """[B, 2 D, 2 H, 2 W, C] -> [B, D, H, W, 8 C], the voxels of a 2 x 2 x 2 block in row order."""
  b, d, h, w, c = x.shape
  x = x.reshape(b, d // 2, 2, h // 2, 2, w // 2, 2, c)
  return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, d // 2, h // 2, w // 2, 8 * c)


def pixel_shuffle(x):
  """[B, D, H, W, 8 C] -> [B, 2 D, 2 H, 2 W, C]: channel 8 c + 4 i + 2 j + k goes to the voxel (i,
  j, k) of the block, as in PyTorch's shuffle of images."""
  b, d, h, w, c = x.shape
  x = x.reshape(b, d, h, w, c // 8, 2, 2, 2)
  return x.transpose(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, 2 * d, 2 * h, 2 * w, c // 8)


class Conv3d(nn.Module):
  """x [B, D, H, W, C] -> [B, D, H, W, channels], 3 x 3 x 3 with a border of zeros; with `halve`
  [B, D / 2, H / 2, W / 2, channels], 2 x 2 x 2 with a stride of 2."""
  channels: int
  halve: bool = False
  kernel_init: Any = nn.initializers.lecun_normal()
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    size = 2 if self.halve else 3
    kernel = self.param('kernel', self.kernel_init, (size, size, size, x.shape[-1], self.channels),
                        self.param_dtype)
    bias = self.param('bias', nn.initializers.zeros, (self.channels,), self.param_dtype)
    x, kernel, bias = (y.astype(self.dtype) for y in (x, kernel, bias))
    if self.halve:
      output = space_to_depth(x) @ kernel.reshape(-1, self.channels)
    else:
      output = convolve(x, kernel)
    return output + bias.reshape(1, 1, 1, 1, -1)

"""The denoiser of the embedded prior: a U-Net whose layout is fast on CPUs.

The image is folded 2x2 into channels first (full-resolution convolutions are the slow ones), levels
are joined by dense layers with pixel shuffles instead of strided convolutions, and the norm is over
the whole sample instead of groups. Axes: B images, H and W rows and columns, L caption tokens.
"""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from jax3dgen.nn import layers

ZERO = nn.initializers.zeros


def convolve(x, kernel, *settings, **options):
  """The convolution of `Conv` with 3x3 kernels; a matrix product on accelerators.

  Under `jax.vmap` over nets, such as the critics of many runs, that is a batched product. A
  convolution would become a grouped one, which takes minutes to compile and runs slowly.
  """
  if jax.default_backend() == 'cpu':
    return jax.lax.conv_general_dilated(x, kernel, *settings, **options)
  return layers.convolution_as_product(x, kernel)


Conv = functools.partial(nn.Conv, kernel_size=(3, 3), conv_general_dilated=convolve)


class ResBlock(nn.Module):
  """Two 3x3 convolutions with a skip: [B, H, W, C] -> [B, H, W, channels].

  `embedding` [B, E] scales and shifts the channels between the convolutions (FiLM).
  """
  channels: int

  @nn.compact
  def __call__(self, x, embedding):
    h = nn.silu(layers.SampleNorm(name='norm_in')(x))
    h = Conv(self.channels, name='conv_in')(h)
    film = nn.Dense(2 * self.channels, kernel_init=ZERO, name='film')(embedding)[:, None, None, :]
    scale, shift = jnp.split(film, 2, -1)
    h = nn.silu(layers.SampleNorm(name='norm_out')(h) * (1.0 + scale) + shift)
    h = Conv(self.channels, kernel_init=ZERO, name='conv_out')(h)
    if x.shape[-1] != self.channels:
      x = nn.Dense(self.channels, name='skip')(x)
    return x + h


class TextBlock(nn.Module):
  """Attention among the positions of x [B, H, W, C], then to caption tokens [B, L, D], then MLP.

  `join` maps the normed positions [B, N, C] to what attends, [A, M, C] with A M = B N in the same
  order, its context [A, K, C] and the mask [A, K] of `layers.Attention`; None: each image alone.
  """
  heads: int
  expansion: int

  @nn.compact
  def __call__(self, x, tokens, join=None):
    h = x.reshape(x.shape[0], -1, x.shape[-1])
    state = nn.RMSNorm(name='norm_self')(h)
    state, context, mask = join(state) if join else (state, None, None)
    attended = layers.Attention(self.heads, name='self')(state, context, mask)
    h = h + attended.reshape(h.shape)
    h = h + layers.Attention(self.heads, name='cross')(nn.RMSNorm(name='norm_cross')(h), tokens)
    h = h + layers.Mlp(self.expansion, name='mlp')(nn.RMSNorm(name='norm_mlp')(h))
    return h.reshape(x.shape)


class UNetSmall(nn.Module):
  """x [B, H, W, 3], t [B] in [0, 1], tokens [B, L, D], pooled [B, D] -> [B, H, W, 3].

  H and W are multiples of 2^(number of levels). Levels below the first attend to the caption.
  """
  channels: tuple = (48, 96, 192)
  embedding: int = 256
  head_width: int = 48
  expansion: int = 2

  @nn.compact
  def __call__(self, x, t, tokens, pooled):
    return self.denoise(x, t, tokens, pooled)

  def denoise(self, x, t, tokens, pooled, shift=0.0, join=None):
    """The whole net, for the compact `__call__` of this class and of others.

    `shift` [B, E] is added to the embedding of noise level and caption; join(name, level) gives the
    `join` of the TextBlock of that name.
    """
    wave = nn.silu(nn.Dense(self.embedding, name='time_in')(layers.time_embedding(t, 64)))
    emb = nn.silu(nn.Dense(self.embedding, name='time_out')(wave)
                  + nn.Dense(self.embedding, name='pooled')(pooled) + shift)

    def block(h, level, name):
      channels = self.channels[level]
      h = ResBlock(channels, name=f'{name}_res')(h, emb)
      if level == 0:
        return h
      return TextBlock(max(channels // self.head_width, 1), self.expansion, name=f'{name}_text')(
          h, tokens, join and join(name, level))

    last = len(self.channels) - 1
    h = Conv(self.channels[0], name='conv_in')(layers.space_to_depth(x, 2))
    skips = []
    for level in range(last + 1):
      if level:
        h = nn.Dense(self.channels[level], name=f'down_{level}')(layers.space_to_depth(h, 2))
      h = block(h, level, f'encode_{level}')
      skips.append(h)
    h = block(h, last, 'middle')
    for level in range(last, -1, -1):
      h = block(jnp.concatenate([h, skips[level]], -1), level, f'decode_{level}')
      if level:
        h = nn.Dense(4 * self.channels[level - 1], name=f'up_{level}')(h)
        h = layers.depth_to_space(h, 2)
    h = block(h, 0, 'detail')
    h = nn.silu(layers.SampleNorm(name='norm_out')(h))
    h = Conv(4 * x.shape[-1], kernel_init=ZERO, name='conv_out')(h)
    return layers.depth_to_space(h, 2)

"""The flow transformer of TRELLIS's first stage (Xiang et al. 2025), named as in its files.

A transformer over the patches of a voxel latent with cross-attention to the tokens of an image,
conditioned on the noise level by adaptive layer norms (Peebles and Xie 2023). Axes: B samples, r
voxels per side and c channels of the latent, N = (r / patch)^3 patches, L tokens of the image of D
channels, C channels, h heads of d channels.
"""

import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.nn import unet_blocks

LOGITS = 2**26  # attention logits in memory at a time: 256 MiB
WAVES = 256  # numbers of the sinusoidal embedding of the noise level
XAVIER = nn.initializers.xavier_uniform()
ZERO = nn.initializers.zeros


def by_rows(layer, x):
  """`layer` of x [..., C] as rows [N, C]: on a CPU a kernel's gradient, a product over one axis of
  rows, is three times as fast as one over several axes."""
  rows = layer(x.reshape(-1, x.shape[-1]))
  return rows.reshape(*x.shape[:-1], rows.shape[-1])


def patchify(x, size):
  """[B, r, r, r, c] -> [B, N, c size^3]: patches in row order, the channel slowest in each."""
  b, r, _, _, c = x.shape
  n = r // size
  x = x.reshape(b, n, size, n, size, n, size, c)
  return x.transpose(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, n**3, c * size**3)


def unpatchify(x, size):
  """The inverse of `patchify`."""
  b, count, width = x.shape
  n, c = round(count ** (1 / 3)), width // size**3
  x = x.reshape(b, n, n, n, c, size, size, size)
  return x.transpose(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, n * size, n * size, n * size, c)


def positions(side, width):
  """The embeddings [side^3, width] of the places of a grid, a host array.

  Sines, then cosines, of each coordinate at f = floor(width / 6) frequencies 10000^(-n / f); zeros
  in the channels that remain.
  """
  count = width // 3 // 2
  frequency = 10_000.0 ** (-np.arange(count) / count)
  angle = np.indices((side,) * 3).reshape(3, -1).T[..., None] * frequency
  table = np.concatenate([np.sin(angle), np.cos(angle)], -1).reshape(side**3, -1)
  return np.pad(table, ((0, 0), (0, width - table.shape[1]))).astype(np.float32)


def level_waves(t):
  """Cosines, then sines, of t [B] in [0, 1000] at 128 frequencies 10000^(-n / 128): [B, 256].

  In float32 the product of t and a frequency is wrong by 1e-4, which is most of the error of a
  network's output. Here t = 32 i + j + r with whole i and j, whose waves are tabulated.
  """
  frequency = 10_000.0 ** (-np.arange(WAVES // 2) / (WAVES // 2))
  fine = np.exp(1j * np.arange(32)[:, None] * frequency).astype(np.complex64)
  coarse = np.exp(32j * np.arange(32)[:, None] * frequency).astype(np.complex64)
  index = lambda x: jnp.clip(jnp.floor(x), 0, 31).astype(jnp.int32)
  i = index(t / 32)
  j = index(t - 32 * i)
  angle = (t - 32 * i - j)[:, None] * jnp.asarray(frequency, jnp.float32)[None]
  rest = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
  wave = jnp.asarray(coarse)[i] * jnp.asarray(fine)[j] * rest
  return jnp.concatenate([wave.real, wave.imag], -1)


class Types(nn.Module):
  """Fields of all modules: `dtype` of the products of blocks, `param_dtype` of their kernels."""
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def dense(self, width, name, init=XAVIER):
    layer = nn.Dense(width, kernel_init=init, dtype=self.dtype, param_dtype=self.param_dtype,
                     name=name)
    return functools.partial(by_rows, layer)


class HeadNorm(nn.Module):
  """x [B, N, h, d] with each row of unit root mean square, times a learned scale [h, d]."""

  @nn.compact
  def __call__(self, x):
    gamma = self.param('gamma', nn.initializers.ones, x.shape[2:])
    x = x.astype(jnp.float32)
    power = jnp.sum(jnp.square(x), -1, keepdims=True)
    unit = x * jax.lax.rsqrt(jnp.maximum(power, 1e-24))
    return unit * x.shape[-1]**0.5 * gamma[None, None]


class Attention(Types):
  """x [B, N, C], context [B, M, D] or None for x itself -> [B, N, C]."""
  heads: int = 16
  normed: bool = False

  @nn.compact
  def __call__(self, x, context=None):
    width = x.shape[-1]
    split = lambda y, count: jnp.split(
        y.reshape(*y.shape[:2], count * self.heads, width // self.heads), count, 2)
    if context is None:
      q, k, v = split(self.dense(3 * width, 'to_qkv')(x), 3)
    else:
      q, = split(self.dense(width, 'to_q')(x), 1)
      k, v = split(self.dense(2 * width, 'to_kv')(context), 2)
    if self.normed:
      q, k = (HeadNorm(name=name)(y).astype(y.dtype)
              for name, y in (('q_rms_norm', q), ('k_rms_norm', k)))
    output = unet_blocks.attend(q, k, v, LOGITS)
    return self.dense(width, 'to_out')(output.reshape(x.shape))


class FeedForward(Types):
  """[B, N, C] -> [B, N, C] through `hidden` channels."""
  hidden: int = 4096

  @nn.compact
  def __call__(self, x):
    h = nn.gelu(self.dense(self.hidden, 'mlp_0')(x), approximate=True)
    return self.dense(x.shape[-1], 'mlp_2')(h)


class Block(Types):
  """x [B, N, C] -> [B, N, C], with tokens [B, L, D] and the noise level's embedding [B, C]."""
  heads: int = 16
  hidden: int = 4096
  qk_norm: bool = True
  qk_norm_cross: bool = False

  @nn.compact
  def __call__(self, x, tokens, level):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    plain = nn.LayerNorm(1e-6, use_bias=False, use_scale=False, use_fast_variance=False)
    change = self.dense(6 * x.shape[-1], 'adaLN_modulation_1', ZERO)(nn.silu(level))
    shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = jnp.split(change[:, None], 6, -1)
    h = Attention(heads=self.heads, normed=self.qk_norm, name='self_attn', **types)(
        plain(x) * (1 + scale) + shift)
    x = x + gate * h
    h = nn.LayerNorm(1e-6, use_fast_variance=False, name='norm2')(x)
    x = x + Attention(heads=self.heads, normed=self.qk_norm_cross, name='cross_attn', **types)(
        h, tokens)
    h = FeedForward(hidden=self.hidden, name='mlp', **types)(
        plain(x) * (1 + scale_mlp) + shift_mlp)
    return x + gate_mlp * h


class Level(nn.Module):
  """t [B] in [0, 1000] -> the embedding [B, width] of the noise level, in float32."""
  width: int

  @nn.compact
  def __call__(self, t):
    dense = lambda name: nn.Dense(self.width, kernel_init=nn.initializers.normal(0.02), name=name)
    return dense('mlp_2')(nn.silu(dense('mlp_0')(level_waves(t))))


class FlowTransformer(Types):
  """x_t [B, r, r, r, c], t [B] in [0, 1000], tokens [B, L, D] -> v [B, r, r, r, outputs].

  The fields are those of TRELLIS-image-large; `context` is D. `qk_norm` and `qk_norm_cross`
  normalise queries and keys of the self- and the cross-attention. `remat` recomputes blocks in the
  backward pass. Norms, softmax, the sums of the branches and the first and last layer are float32
  whatever `dtype` is. Sequences of more than LOGITS pairs are attended to in chunks. At first the
  output is 0.
  """
  outputs: int = 8
  context: int = 1024
  width: int = 1024
  depth: int = 24
  heads: int = 16
  mlp_ratio: float = 4
  patch: int = 1
  qk_norm: bool = True
  qk_norm_cross: bool = False
  remat: bool = False

  @nn.compact
  def __call__(self, x, t, tokens):
    level = Level(self.width, name='t_embedder')(t)
    h = by_rows(nn.Dense(self.width, kernel_init=XAVIER, name='input_layer'),
                patchify(x, self.patch))
    h = h + positions(x.shape[1] // self.patch, self.width)[None]
    block = nn.remat(Block) if self.remat else Block
    for i in range(self.depth):
      h = block(heads=self.heads, hidden=int(self.mlp_ratio * self.width), qk_norm=self.qk_norm,
                qk_norm_cross=self.qk_norm_cross, dtype=self.dtype, param_dtype=self.param_dtype,
                name=f'blocks_{i}')(h, tokens, level)
    h = nn.LayerNorm(1e-5, use_bias=False, use_scale=False, use_fast_variance=False)(h)
    v = by_rows(nn.Dense(self.outputs * self.patch**3, kernel_init=ZERO, name='out_layer'), h)
    return unpatchify(v, self.patch).astype(x.dtype)

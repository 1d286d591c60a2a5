"""The vision transformer of DINOv2 (Oquab et al. 2023), with and without registers (Darcet et al.).

Patches, a class token and learned positions; pre-norm blocks whose branches are scaled per channel;
a final norm. Axes: B images, H and W rows and columns, N patches in row order, C channels.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

CUBIC = -0.75  # PyTorch's bicubic kernel; jax.image has -0.5


class Block(nn.Module):
  """x [B, N, C] -> [B, N, C]: attention and an MLP of four times the width.

  `gated` is the MLP of ViT-g: SwiGLU, silu(a) b, of two thirds of that width.
  """
  heads: int
  branch: float = 1e-5
  gated: bool = False
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    width = x.shape[-1]
    norm = lambda name: nn.LayerNorm(epsilon=1e-6, dtype=jnp.float32, param_dtype=self.param_dtype,
                                     name=name)
    dense = lambda size, name: nn.Dense(size, dtype=self.dtype, param_dtype=self.param_dtype,
                                        name=name)
    scale = lambda name: self.param(name, nn.initializers.constant(self.branch), (width,),
                                    self.param_dtype)[None, None].astype(self.dtype)
    split = lambda y: y.reshape(y.shape[:2] + (self.heads, width // self.heads))
    q, k, v = (split(y) for y in jnp.split(dense(3 * width, 'qkv')(norm('norm1')(x)), 3, -1))
    h = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
    x = x + scale('ls1') * dense(width, 'proj')(h)
    h = norm('norm2')(x)
    if self.gated:
      gate, h = jnp.split(dense(2 * gated_width(width), 'w12')(h), 2, -1)
      h = dense(width, 'w3')(nn.silu(gate) * h)
    else:
      h = dense(width, 'fc2')(nn.gelu(dense(4 * width, 'fc1')(h), approximate=False))
    return x + scale('ls2') * h


def gated_width(width):
  """The inner width of a gated MLP: two thirds of four times the width, in eights."""
  return (int(4 * width * 2 / 3) + 7) // 8 * 8


class ViT(nn.Module):
  """image [B, H, W, 3] (normalised by its caller) -> (class token [B, C], patches [B, h, w, C]).

  Rows and columns beyond a multiple of `patch` are ignored. `grid` is the number of patches per
  side that positions were learned for; other sizes interpolate them. Published: ViT-S/14 is
  ViT(384, 12, 6), with grid 37. `branch` is the first scale of each block's branches: DINOv2's own
  is meant for many wide blocks and many steps; a few small blocks would hardly learn from it in a
  short training. `offset`: see `positions`. `dtype` is that of the products; norms, softmax and the
  output are float32. `remat` recomputes blocks in the backward pass. With `tokens` the result is
  instead the input of the final norm, [B, 1 + registers + N, C]: class token, registers, patches.
  """
  width: int
  depth: int
  heads: int
  patch: int = 14
  grid: int = 37
  registers: int = 0
  branch: float = 1e-5
  gated: bool = False
  offset: float = 0.1
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: bool = False
  tokens: bool = False

  @nn.compact
  def __call__(self, image):
    small = nn.initializers.normal(0.02)
    learn = lambda name, shape: self.param(name, small, shape, self.param_dtype)
    size = (self.patch, self.patch)
    x = nn.Conv(self.width, size, size, 'VALID', dtype=self.dtype, param_dtype=self.param_dtype,
                name='patch_embed')(image)
    batch, rows, columns, _ = x.shape
    token = learn('cls_token', (1, 1, self.width))
    table = learn('pos_embed', (1, 1 + self.grid**2, self.width))
    where = positions(table[0, 1:].reshape(self.grid, self.grid, -1), (rows, columns),
                      antialias=self.registers > 0, offset=0.0 if self.registers else self.offset)
    x = x.reshape(batch, -1, self.width) + where.reshape(1, -1, self.width).astype(self.dtype)
    first = jnp.broadcast_to(token + table[:, :1], (batch, 1, self.width))
    if self.registers:
      register_tokens = learn('register_tokens', (1, self.registers, self.width))
      first = jnp.concatenate(
          [first, jnp.broadcast_to(register_tokens, (batch, self.registers, self.width))], 1)
    x = jnp.concatenate([first.astype(self.dtype), x], 1)
    block = nn.remat(Block) if self.remat else Block
    for i in range(self.depth):
      x = block(self.heads, self.branch, self.gated, self.dtype, self.param_dtype,
                name=f'block_{i}')(x)
    before = x.astype(jnp.float32)
    x = nn.LayerNorm(epsilon=1e-6, dtype=jnp.float32, param_dtype=self.param_dtype, name='norm')(x)
    if self.tokens:
      return before
    patches = x[:, 1 + self.registers:].reshape(batch, rows, columns, self.width)
    return x[:, 0], patches


def positions(table, size, antialias, offset=0.0):
  """Position embeddings `table` [g, g, C] resampled to a grid (rows, columns).

  Bicubic with the scale (n + offset) / g, as in the published codes: the authors' has the offset
  0.1 without registers, transformers' none. With registers both have none, and antialias where the
  size is smaller (`antialias`).
  """
  grid = table.shape[0]
  if size == (grid, grid):
    return table
  rows, columns = (_cubic(grid, n, (n + offset) / grid, antialias) for n in size)
  return jnp.einsum('ri,cj,ijd->rcd', rows, columns, table, precision='highest')


def _cubic(count, size, scale, antialias):
  """Weights [size, count] of bicubic interpolation of `count` samples, PyTorch's kernel."""
  stretch = max(1 / scale, 1.0) if antialias else 1.0
  a = -0.5 if antialias else CUBIC  # PyTorch's antialiased kernel is Pillow's
  center = (np.arange(size) + 0.5) / scale
  reach = int(np.ceil(2 * stretch)) + 1
  near = np.floor(center).astype(int)[:, None] + np.arange(-reach, reach + 1)[None]
  x = np.abs((near + 0.5 - center[:, None]) / stretch)
  weight = np.where(
      x < 1, (a + 2) * x**3 - (a + 3) * x**2 + 1,
      np.where(x < 2, a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a, 0.0))
  out = np.zeros((size, count))
  if antialias:  # samples outside the grid do not count
    weight = np.where((near >= 0) & (near < count), weight, 0.0)
    weight = weight / weight.sum(1, keepdims=True)
  np.add.at(out, (np.arange(size)[:, None], near.clip(0, count - 1)), weight)
  return jnp.asarray(out, jnp.float32)

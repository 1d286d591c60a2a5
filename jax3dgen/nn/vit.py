"""The vision transformer of DINOv2 (Oquab et al. 2023), with and without registers (Darcet et al.).

Patches, a class token and learned positions; pre-norm blocks whose branches are scaled per channel;
a final norm. Axes: B images, H and W rows and columns, N patches in row order, C channels.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

CUBIC = -0.75  # PyTorch's bicubic kernel; jax.image has -0.5


class Block(nn.Module):
  """x [B, N, C] -> [B, N, C]: attention and an MLP of four times the width."""
  heads: int
  branch: float = 1e-5

  @nn.compact
  def __call__(self, x):
    norm = lambda name: nn.LayerNorm(epsilon=1e-6, name=name)
    scale = lambda name: self.param(name, nn.initializers.constant(self.branch), x.shape[-1:])
    split = lambda y: y.reshape(y.shape[:2] + (self.heads, x.shape[-1] // self.heads))
    q, k, v = (split(y) for y in jnp.split(
        nn.Dense(3 * x.shape[-1], name='qkv')(norm('norm1')(x)), 3, -1))
    h = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
    x = x + scale('ls1')[None, None] * nn.Dense(x.shape[-1], name='proj')(h)
    h = nn.gelu(nn.Dense(4 * x.shape[-1], name='fc1')(norm('norm2')(x)), approximate=False)
    return x + scale('ls2')[None, None] * nn.Dense(x.shape[-1], name='fc2')(h)


class ViT(nn.Module):
  """image [B, H, W, 3] (normalised by its caller) -> (class token [B, C], patches [B, h, w, C]).

  H and W are multiples of `patch`. `grid` is the number of patches per side that positions were
  learned for; other sizes interpolate them. Published: ViT-S/14 is ViT(384, 12, 6), with grid 37.
  `branch` is the first scale of each block's branches: DINOv2's own is made for many wide blocks
  and many steps; a few small blocks would hardly learn from it in a short training.
  """
  width: int
  depth: int
  heads: int
  patch: int = 14
  grid: int = 37
  registers: int = 0
  branch: float = 1e-5

  @nn.compact
  def __call__(self, image):
    small = nn.initializers.normal(0.02)
    size = (self.patch, self.patch)
    x = nn.Conv(self.width, size, size, 'VALID', name='patch_embed')(image)
    batch, rows, columns, _ = x.shape
    token = self.param('cls_token', small, (1, 1, self.width))
    learned = self.param('pos_embed', small, (1, 1 + self.grid**2, self.width))
    where = positions(learned[0, 1:].reshape(self.grid, self.grid, -1), (rows, columns),
                      antialias=self.registers > 0)
    x = x.reshape(batch, -1, self.width) + where.reshape(1, -1, self.width)
    first = jnp.broadcast_to(token + learned[:, :1], (batch, 1, self.width))
    if self.registers:
      held = self.param('register_tokens', small, (1, self.registers, self.width))
      first = jnp.concatenate(
          [first, jnp.broadcast_to(held, (batch, self.registers, self.width))], 1)
    x = jnp.concatenate([first, x], 1)
    for i in range(self.depth):
      x = Block(self.heads, self.branch, name=f'block_{i}')(x)
    x = nn.LayerNorm(epsilon=1e-6, name='norm')(x)
    patches = x[:, 1 + self.registers:].reshape(batch, rows, columns, self.width)
    return x[:, 0], patches


def positions(learned, size, antialias):
  """Learned positions [g, g, C] at another grid size (rows, columns), as the published code does.

  Without registers, bicubic with the scale (n + 0.1) / g, that is, not quite the corners of the
  grid; with registers, to the size itself, and smoothed where that is smaller.
  """
  grid = learned.shape[0]
  if size == (grid, grid):
    return learned
  offset = 0.0 if antialias else 0.1
  rows, columns = (_cubic(grid, n, (n + offset) / grid, antialias) for n in size)
  return jnp.einsum('ri,cj,ijd->rcd', rows, columns, learned, precision='highest')


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
  if antialias:  # outside the image there is nothing
    weight = np.where((near >= 0) & (near < count), weight, 0.0)
    weight = weight / weight.sum(1, keepdims=True)
  np.add.at(out, (np.arange(size)[:, None], near.clip(0, count - 1)), weight)
  return jnp.asarray(out, jnp.float32)

"""LoFTR: point correspondences between two images (Sun et al. 2021), in the outdoor variant.

Features at an eighth and at half of the resolution; a transformer of linear attention within and
across the images on the coarse ones; mutual nearest cells under a dual softmax are matches; and
around each match a second transformer refines the point in a window of fine features. All shapes
are fixed: the `most` matches of the highest confidence are returned, with a mask of the valid ones.

Axes: B pairs, h and w rows and columns of cells, L = h w cells of the first image, S of the second,
C channels, K matches, W = window^2 places. Coordinates are (x, y) in pixels.
"""

from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.types import Array
from jax3dgen.nn import batch_norm

COARSE, FINE = 8, 2  # pixels per cell of the two maps


class Matches(NamedTuple):
  """first, second [B, K, 2] (x, y) in pixels; confidence [B, K], descending; mask [B, K] bool."""
  first: Array
  second: Array
  confidence: Array
  mask: Array


class Residual(nn.Module):
  """Two 3x3 convolutions with a skip: [B, H, W, C] -> [B, H/stride, W/stride, width]."""
  width: int
  stride: int
  dtype: Any
  param_dtype: Any

  @nn.compact
  def __call__(self, x):
    conv, norm = _layers(self.dtype, self.param_dtype)
    h = nn.relu(norm('bn1')(conv(self.width, 3, 'conv1', self.stride)(x)))
    h = norm('bn2')(conv(self.width, 3, 'conv2')(h))
    if self.stride > 1:
      x = norm('downsample_1')(conv(self.width, 1, 'downsample_0', self.stride)(x))
    return nn.relu(x + h)


class Backbone(nn.Module):
  """grey images [B, H, W, 1] -> (coarse [B, H/8, W/8, C3], fine [B, H/2, W/2, C1])."""
  widths: tuple
  dtype: Any
  param_dtype: Any

  @nn.compact
  def __call__(self, x):
    conv, norm = _layers(self.dtype, self.param_dtype)
    x = nn.relu(norm('bn1')(conv(self.widths[0], 7, 'conv1', 2)(x)))
    levels = []
    for i, width in enumerate(self.widths):
      for j, stride in enumerate((1 if i == 0 else 2, 1)):
        x = Residual(width, stride, self.dtype, self.param_dtype, name=f'layer{i + 1}_{j}')(x)
      levels.append(x)
    coarse = conv(self.widths[2], 1, 'layer3_outconv')(levels[2])
    x = coarse
    for i in (1, 0):
      x = conv(self.widths[i + 1], 1, f'layer{i + 1}_outconv')(levels[i]) + upsample(x)
      name = f'layer{i + 1}_outconv2'
      x = nn.leaky_relu(norm(f'{name}_1')(conv(self.widths[i + 1], 3, f'{name}_0')(x)))
      x = conv(self.widths[i], 3, f'{name}_3')(x)
    return coarse, x


def _layers(dtype, param_dtype):
  """(conv(width, kernel, name, stride) without a bias, norm(name)), to be called in a module."""
  conv = lambda width, kernel, name, stride=1: nn.Conv(
      width, (kernel, kernel), stride, kernel // 2, use_bias=False, dtype=dtype,
      param_dtype=param_dtype, name=name)
  norm = lambda name: lambda x: batch_norm.BatchNorm(param_dtype=param_dtype, name=name)(x).astype(
      dtype)
  return conv, norm


def upsample(x):
  """[B, H, W, C] -> [B, 2H, 2W, C]: bilinear, with aligned corners."""
  def weights(size):
    place = np.arange(2 * size) * (size - 1) / max(2 * size - 1, 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(size)), 0).astype(np.float32)
  rows, columns = (jnp.asarray(weights(size), x.dtype) for size in x.shape[1:3])
  return jnp.einsum('ri,cj,bijd->brcd', rows, columns, x, precision='highest')


def positions(rows, columns, width):
  """Sines and cosines [rows, columns, width] of positions 1, 2, ..: four channels per frequency.

  The frequencies are e^0, e^-2, e^-4, ...: the authors' code rounded the intended logarithm of
  their ratio down to -1, and the outdoor weights were trained with that.
  """
  frequency = np.exp(-np.arange(0, width // 2, 2, dtype=np.float32))
  angle = lambda count: (1.0 + np.arange(count, dtype=np.float32))[:, None] * frequency
  x, y = np.broadcast_arrays(angle(columns)[None], angle(rows)[:, None])
  return np.stack([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], -1).reshape(rows, columns, width)


class Layer(nn.Module):
  """x [B, N, C] -> [B, N, C]: linear attention to source [B, M, C] and an MLP of both."""
  heads: int
  dtype: Any
  param_dtype: Any

  @nn.compact
  def __call__(self, x, source):
    width = x.shape[-1]
    dense = lambda size, name: nn.Dense(size, use_bias=False, dtype=self.dtype,
                                        param_dtype=self.param_dtype, name=name)
    norm = lambda name: nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32,
                                     param_dtype=self.param_dtype, name=name)
    split = lambda y: y.reshape(y.shape[:2] + (self.heads, -1)).astype(jnp.float32)
    q, k, v = (split(dense(width, f'{name}_proj')(y))
               for name, y in (('q', x), ('k', source), ('v', source)))
    message = linear_attention(q, k, v).reshape(x.shape)
    message = norm('norm1')(dense(width, 'merge')(message)).astype(self.dtype)
    message = nn.relu(dense(2 * width, 'mlp_0')(jnp.concatenate([x, message], -1)))
    return x + norm('norm2')(dense(width, 'mlp_2')(message)).astype(self.dtype)


def linear_attention(q, k, v):
  """Attention of q [B, N, H, D] to k, v [B, M, H, D] with the kernel phi(q) phi(k),
  phi(x) = elu(x) + 1 (Katharopoulos et al. 2020)."""
  q, k = nn.elu(q) + 1, nn.elu(k) + 1
  summary = jnp.einsum('bmhd,bmhv->bhdv', k, v / k.shape[1])
  share = 1 / (jnp.einsum('bnhd,bhd->bnh', q, k.sum(1)) + 1e-6)
  return jnp.einsum('bnhd,bhdv,bnh->bnhv', q, summary, share) * k.shape[1]


class Transformer(nn.Module):
  """Two sets of features [B, N, C] and [B, M, C] after `pairs` of self- and cross-attention."""
  pairs: int
  heads: int
  dtype: Any
  param_dtype: Any
  remat: bool = False

  @nn.compact
  def __call__(self, first, second):
    layer = nn.remat(Layer) if self.remat else Layer
    make = lambda i: layer(self.heads, self.dtype, self.param_dtype, name=f'layers_{i}')
    for i in range(0, 2 * self.pairs, 2):
      within, across = make(i), make(i + 1)
      first, second = within(first, first), within(second, second)
      first = across(first, second)
      second = across(second, first)  # with the updated first, as in the authors' code
    return first, second


class Loftr(nn.Module):
  """grey images [B, H, W, 1] and [B, H', W', 1] in [0, 1] -> Matches; sides are multiples of 8.

  A match needs a confidence above `threshold` and cells `border` or more away from the edges.
  Gradients reach the features through confidences and second points, not through the selection.
  """
  widths: tuple = (128, 196, 256)
  heads: int = 8
  coarse_pairs: int = 4
  fine_pairs: int = 1
  window: int = 5
  threshold: float = 0.2
  temperature: float = 0.1
  border: int = 2
  most: int = 1024
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, first, second):
    kinds = (self.dtype, self.param_dtype)
    backbone = Backbone(self.widths, *kinds, name='backbone')
    if first.shape == second.shape:
      coarse, fine = (jnp.split(x, 2) for x in backbone(jnp.concatenate([first, second])))
    else:
      coarse, fine = zip(backbone(first), backbone(second), strict=True)
    sizes = [x.shape[1:3] for x in coarse]
    tokens = [(x + positions(*x.shape[1:])[None].astype(x.dtype)).reshape(len(x), -1, x.shape[-1])
              for x in coarse]
    coarse = Transformer(self.coarse_pairs, self.heads, *kinds, self.remat,
                         name='loftr_coarse')(*tokens)
    confidence, i, j, mask = self.select(*coarse, *sizes)
    windows = self.fine_windows(fine, coarse, (i, j), sizes)
    windows = Transformer(self.fine_pairs, self.heads, *kinds, name='loftr_fine')(*windows)
    corner = lambda cell, size: COARSE * jnp.stack(
        [cell % size[1], cell // size[1]], -1).astype(jnp.float32)
    offset = FINE * self.offsets(*windows).reshape(i.shape + (2,))
    return Matches(corner(i, sizes[0]), corner(j, sizes[1]) + offset, confidence, mask)

  def select(self, first, second, size, other):
    """(confidence, i, j, mask), each [B, K], of features [B, L, C] and [B, S, C] in grids of (rows,
    columns) `size` and `other`: mutual nearest cells."""
    p = confidences(first, second, self.temperature)
    inside = self.inside(size)[:, None] & self.inside(other)[None]
    matches = mutual(p, self.threshold) & inside[None]
    j = jnp.argmax(matches, -1)
    best = jnp.where(matches.any(-1), jnp.take_along_axis(p, j[..., None], -1)[..., 0], 0.0)
    confidence, i = jax.lax.top_k(best, min(self.most, best.shape[-1]))
    return confidence, i, jnp.take_along_axis(j, i, -1), confidence > 0

  def inside(self, size):
    """Which cells [rows columns] are `border` or more away from the edges."""
    row, column = (np.minimum(np.arange(n), np.arange(n)[::-1]) >= self.border for n in size)
    return (row[:, None] & column[None]).reshape(-1)

  def fine_windows(self, fine, coarse, cells, sizes):
    """Fine features around matched cells, merged with their coarse ones: two of [B K, W, C1]."""
    width, (batch, count) = self.widths[0], cells[0].shape
    dense = lambda name: nn.Dense(width, dtype=self.dtype, param_dtype=self.param_dtype, name=name)
    at = [jnp.take_along_axis(x, cell[..., None], 1)
          for x, cell in zip(coarse, cells, strict=True)]
    context = dense('down_proj')(jnp.concatenate(at))[:, :, None]
    windows = jnp.concatenate([cut_out(x, cell, size[1], self.window)
                               for x, cell, size in zip(fine, cells, sizes, strict=True)])
    both = jnp.concatenate([windows, jnp.broadcast_to(context, windows.shape)], -1)
    merged = dense('merge_feat')(both).reshape(2 * batch * count, -1, width)
    return jnp.split(merged, 2)

  def offsets(self, first, second):
    """Offsets [N, 2] in fine cells of what matches the middle of `first` in `second` [N, W, C]."""
    middle = first[:, first.shape[1] // 2]
    logits = jnp.einsum('nc,nwc->nw', middle, second, preferred_element_type=jnp.float32)
    heat = jax.nn.softmax(logits * first.shape[-1] ** -0.5, -1)
    steps = np.arange(self.window, dtype=np.float32) - self.window // 2
    place = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)  # (x, y), row by row
    return heat @ place


def confidences(first, second, temperature):
  """Dual softmax [..., L, S] of features [..., L, C] and [..., S, C], in float32."""
  logits = jnp.einsum('...lc,...sc->...ls', first, second, preferred_element_type=jnp.float32)
  logits = logits / (first.shape[-1] * temperature)
  return jax.nn.softmax(logits, -2) * jax.nn.softmax(logits, -1)


def mutual(confidence, threshold):
  """The matches [..., L, S] bool: the highest of row and column, and above the threshold."""
  highest = lambda axis: confidence == confidence.max(axis, keepdims=True)
  return highest(-1) & highest(-2) & (confidence > threshold)


def cut_out(fine, cells, columns, window):
  """Windows [B, K, W, C] of fine [B, H, W, C] at the corners of cells [B, K], zero outside."""
  half, stride = window // 2, COARSE // FINE
  padded = jnp.pad(fine, ((0, 0), (half, half), (half, half), (0, 0)))
  steps = np.arange(window).reshape(1, 1, -1, 1)
  row = stride * (cells // columns)[..., None, None] + steps
  column = stride * (cells % columns)[..., None, None] + steps.transpose(0, 1, 3, 2)
  row, column = jnp.broadcast_arrays(row, column)
  windows = jax.vmap(lambda x, r, c: x[r, c])(padded, row, column)
  return windows.reshape(cells.shape + (window**2, fine.shape[-1]))

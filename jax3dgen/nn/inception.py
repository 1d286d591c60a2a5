"""The Inception-v3 of the Frechet Inception distance (Szegedy et al. 2015, Heusel et al. 2017).

The network of 2015-12-05, by which FID is defined. It differs from later ones: average pools do not
count padding, the last block uses a max pool, and there are 1008 classes. Names are those of
torchvision's and pytorch-fid's files. Axes: B images.
"""

from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from jax3dgen.nn import batch_norm

SIZE = 299  # pixels per side of its training images
FEATURES, CLASSES = 2048, 1008


class Conv(nn.Module):
  """Convolution, batch norm, ReLU: [B, H, W, C] -> [B, h, w, width]."""
  width: int
  kernel: tuple
  stride: int
  padding: str
  dtype: Any
  param_dtype: Any

  @nn.compact
  def __call__(self, x):
    x = nn.Conv(self.width, self.kernel, self.stride, self.padding, use_bias=False,
                dtype=self.dtype, param_dtype=self.param_dtype, name='conv')(x)
    x = batch_norm.BatchNorm(1e-3, self.param_dtype, name='bn')(x)
    return nn.relu(x).astype(self.dtype)


class Mixed(nn.Module):
  """Branches side by side: [B, H, W, C] -> [B, h, w, D].

  Each branch is a chain of (name, width, kernel) of convolutions; one that ends in a tuple of them
  forks. Outputs are concatenated in order, the pooled branch last: `pool` is 'mean' or 'max',
  followed by a convolution to `pooled` channels, or 'shrink', where the last convolution of each
  branch and the maximum halve the image.
  """
  branches: tuple
  pool: str
  pooled: int
  dtype: Any
  param_dtype: Any

  @nn.compact
  def __call__(self, x):
    def conv(x, name, width, kernel=(1, 1), last=False):
      stride, padding = (2, 'VALID') if last and self.pool == 'shrink' else (1, 'SAME')
      return Conv(width, kernel, stride, padding, self.dtype, self.param_dtype, name=name)(x)

    outputs = []
    for *chain, end in self.branches:
      h = x
      for step in chain:
        h = conv(h, *step)
      forks = end if isinstance(end[0], tuple) else (end,)
      outputs += [conv(h, *fork, last=True) for fork in forks]
    if self.pool == 'shrink':
      return jnp.concatenate([*outputs, nn.max_pool(x, (3, 3), (2, 2))], -1)
    if self.pool == 'mean':
      h = nn.avg_pool(x, (3, 3), (1, 1), 'SAME', count_include_pad=False)
    else:
      h = nn.max_pool(x, (3, 3), (1, 1), 'SAME')
    return jnp.concatenate([*outputs, conv(h, 'branch_pool', self.pooled)], -1)


def _three(pooled):
  """A block of 35 x 35 pixels: 1x1, 5x5, and two 3x3."""
  return ((('branch1x1', 64),),
          (('branch5x5_1', 48), ('branch5x5_2', 64, (5, 5))),
          (('branch3x3dbl_1', 64), ('branch3x3dbl_2', 96, (3, 3)), ('branch3x3dbl_3', 96, (3, 3)))
          ), 'mean', pooled


def _seven(inner):
  """A block of 17 x 17 pixels, whose 7x7 kernels are a row and a column."""
  row, column = (1, 7), (7, 1)
  return ((('branch1x1', 192),),
          (('branch7x7_1', inner), ('branch7x7_2', inner, row), ('branch7x7_3', 192, column)),
          (('branch7x7dbl_1', inner), ('branch7x7dbl_2', inner, column),
           ('branch7x7dbl_3', inner, row), ('branch7x7dbl_4', inner, column),
           ('branch7x7dbl_5', 192, row))), 'mean', 192


def _fork(pool):
  """A block of 8 x 8 pixels, whose branches end in a row and a column beside one another."""
  ends = lambda name: ((f'{name}a', 384, (1, 3)), (f'{name}b', 384, (3, 1)))
  return ((('branch1x1', 320),),
          (('branch3x3_1', 384), ends('branch3x3_2')),
          (('branch3x3dbl_1', 448), ('branch3x3dbl_2', 384, (3, 3)), ends('branch3x3dbl_3'))
          ), pool, 192


STEM = (('Conv2d_1a_3x3', 32, 3, 2, 'VALID'), ('Conv2d_2a_3x3', 32, 3, 1, 'VALID'),
        ('Conv2d_2b_3x3', 64, 3, 1, 'SAME'), 'pool', ('Conv2d_3b_1x1', 80, 1, 1, 'VALID'),
        ('Conv2d_4a_3x3', 192, 3, 1, 'VALID'), 'pool')
BLOCKS = {
    'Mixed_5b': _three(32), 'Mixed_5c': _three(64), 'Mixed_5d': _three(64),
    'Mixed_6a': (((('branch3x3', 384, (3, 3)),),
                  (('branch3x3dbl_1', 64), ('branch3x3dbl_2', 96, (3, 3)),
                   ('branch3x3dbl_3', 96, (3, 3)))), 'shrink', 0),
    'Mixed_6b': _seven(128), 'Mixed_6c': _seven(160), 'Mixed_6d': _seven(160),
    'Mixed_6e': _seven(192),
    'Mixed_7a': (((('branch3x3_1', 192), ('branch3x3_2', 320, (3, 3))),
                  (('branch7x7x3_1', 192), ('branch7x7x3_2', 192, (1, 7)),
                   ('branch7x7x3_3', 192, (7, 1)), ('branch7x7x3_4', 192, (3, 3)))), 'shrink', 0),
    'Mixed_7b': _fork('mean'), 'Mixed_7c': _fork('max')}


class Inception(nn.Module):
  """images [B, H, W, 3] in [-1, 1] -> (features [B, 2048], logits [B, 1008]), both float32."""
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    for step in STEM:
      if step == 'pool':
        x = nn.max_pool(x, (3, 3), (2, 2))
      else:
        name, width, kernel, stride, padding = step
        x = Conv(width, (kernel, kernel), stride, padding, self.dtype, self.param_dtype,
                 name=name)(x)
    for name, block in BLOCKS.items():
      x = Mixed(*block, self.dtype, self.param_dtype, name=name)(x)
    features = x.astype(jnp.float32).mean((1, 2))
    logits = nn.Dense(CLASSES, dtype=jnp.float32, param_dtype=self.param_dtype, name='fc')(features)
    return features, logits

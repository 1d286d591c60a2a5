"""LPIPS, a perceptual distance of two images (Zhang et al. 2018), version 0.1.

Both pass through the convolutions of AlexNet or of VGG16; at five depths the features, normalised
at each pixel, are subtracted, squared, weighted by channel and averaged over the pixels. Layers
have the numbers of torchvision's `features`. Axes: B images, H and W pixel rows and columns.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Of images in [-1, 1]: the mean and spread of ImageNet, rounded as published.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Between taps: the side of the pool that comes first (0: none), and (number, width, kernel, stride)
# of the convolutions.
STAGES = {
    'alex': ((0, ((0, 64, 11, 4),)), (3, ((3, 192, 5, 1),)), (3, ((6, 384, 3, 1),)),
             (0, ((8, 256, 3, 1),)), (0, ((10, 256, 3, 1),))),
    'vgg': ((0, ((0, 64, 3, 1), (2, 64, 3, 1))), (2, ((5, 128, 3, 1), (7, 128, 3, 1))),
            (2, ((10, 256, 3, 1), (12, 256, 3, 1), (14, 256, 3, 1))),
            (2, ((17, 512, 3, 1), (19, 512, 3, 1), (21, 512, 3, 1))),
            (2, ((24, 512, 3, 1), (26, 512, 3, 1), (28, 512, 3, 1))))}


class Lpips(nn.Module):
  """images a, b [B, H, W, 3] in [0, 1] -> distances [B], float32; 0 where they are equal.

  `net` is 'alex', the usual metric, or 'vgg', more often used as a loss.
  """
  net: str = 'alex'
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, a, b):
    spread = lambda x: np.asarray(x, np.float32).reshape(1, 1, 1, 3)
    x = (2 * jnp.concatenate([a, b]) - 1 - spread(SHIFT)) / spread(SCALE)
    total = 0.0
    for i, (pool, convolutions) in enumerate(STAGES[self.net]):
      if pool:
        x = nn.max_pool(x, (pool, pool), (2, 2))
      for number, width, kernel, stride in convolutions:
        padding = 2 if kernel == 11 else kernel // 2
        x = nn.relu(nn.Conv(width, (kernel, kernel), stride, padding, dtype=self.dtype,
                            param_dtype=self.param_dtype, name=f'features_{number}')(x))
      first, second = jnp.split(unit(x.astype(jnp.float32)), 2)
      distance = nn.Dense(1, use_bias=False, dtype=jnp.float32, param_dtype=self.param_dtype,
                          name=f'lin{i}')(jnp.square(first - second))
      total = total + distance.mean((1, 2, 3))
    return total


def unit(x):
  """x [..., C] normalised to length 1; a zero vector stays 0, with zero gradient."""
  square = jnp.sum(jnp.square(x), -1, keepdims=True)
  return x * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)

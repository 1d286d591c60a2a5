"""Two small encoders of 32 px images and captions into one embedding space, as in CLIP.

Axes: B images or captions, L tokens, D embedding. Both return unit vectors.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from jax3dgen.nn import caption, referee

SIZE = referee.SIZE


def unit(x):
  """x [..., D] normalised to length 1."""
  return x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + 1e-12)


class ImageTower(nn.Module):
  """images [B, SIZE, SIZE, 3] in [0, 1] -> [B, D]."""
  widths: tuple
  embedding: int

  @nn.compact
  def __call__(self, images):
    return unit(nn.Dense(self.embedding, name='out')(referee.trunk(images, self.widths)))


class TextTower(nn.Module):
  """Token ids [B, L] -> [B, D]; 0 pads."""
  words: int
  length: int
  width: int
  depth: int
  heads: int
  embedding: int

  @nn.compact
  def __call__(self, ids):
    pooled = caption.CaptionEncoder(self.words, self.length, self.width, self.depth, self.heads,
                                    name='encoder')(ids)[1]
    return unit(nn.Dense(self.embedding, name='out')(pooled))

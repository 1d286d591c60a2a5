"""A small text encoder over a closed vocabulary. Token id 0 is padding.

Axes: B captions, L tokens, D width.
"""

from flax import linen as nn
import jax.numpy as jnp

from jax3dgen.nn import layers


class CaptionEncoder(nn.Module):
  """Token ids [B, L] -> (tokens [B, L, D], pooled [B, D]); pre-norm transformer.

  Padding is not attended to and its rows are zero, so the empty caption, the null condition, is
  exactly the zero condition. `pooled` is the mean over the words.
  """
  words: int
  length: int
  width: int = 96
  depth: int = 2
  heads: int = 4
  expansion: int = 4

  @nn.compact
  def __call__(self, ids):
    mask = ids > 0
    embed = lambda rows, name: self.param(name, nn.initializers.normal(0.5), (rows, self.width))
    x = embed(self.words, 'word')[ids] + embed(self.length, 'position')[None, :ids.shape[1]]
    for i in range(self.depth):
      x = x + layers.Attention(self.heads, name=f'attention_{i}')(
          nn.RMSNorm(name=f'norm_attention_{i}')(x), mask=mask)
      x = x + layers.Mlp(self.expansion, name=f'mlp_{i}')(nn.RMSNorm(name=f'norm_mlp_{i}')(x))
    real = mask[:, :, None].astype(x.dtype)
    tokens = nn.RMSNorm(name='norm')(x) * real
    return tokens, tokens.sum(1) / jnp.maximum(real.sum(1), 1.0)

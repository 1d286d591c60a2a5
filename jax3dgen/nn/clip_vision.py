"""The image encoder of CLIP (Radford et al. 2021); names are those of published files.

The layers are those of `clip_text`, without the causal mask. Axes: B images, N patches, C channels.
"""

from flax import linen as nn
import jax.numpy as jnp

from jax3dgen.nn import clip_text, vit


class Embeddings(nn.Module):
  """image [B, H, W, 3] -> [B, 1 + N, width]: a class token and the patches, with positions."""
  width: int
  patch: int
  grid: int
  dtype: jnp.dtype
  param_dtype: jnp.dtype

  @nn.compact
  def __call__(self, image):
    size, types = (self.patch, self.patch), {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = nn.Conv(self.width, size, size, 'VALID', use_bias=False, name='patch_embedding',
                **types)(image)
    token = self.param('class_embedding', nn.initializers.normal(0.02), (self.width,),
                       self.param_dtype)
    places = nn.Embed(1 + self.grid**2, self.width, name='position_embedding', **types)
    table = places(jnp.arange(1 + self.grid**2)).astype(jnp.float32)
    where = vit.positions(table[1:].reshape(self.grid, self.grid, -1), x.shape[1:3],
                          antialias=False)
    x = x + where[None].astype(self.dtype)
    first = (token + table[0]).astype(self.dtype)
    first = jnp.broadcast_to(first[None, None], (len(x), 1, self.width))
    return jnp.concatenate([first, x.reshape(len(x), -1, self.width)], 1)


class ClipVision(nn.Module):
  """image [B, H, W, 3] (normalised by its caller) -> embedding [B, projection], not of unit length.

  `grid` is the number of patches per side that positions were learned for; for other sizes they are
  interpolated, as transformers does. The fields' defaults are those of CLIP-L/14.
  """
  width: int = 1024
  depth: int = 24
  heads: int = 16
  hidden: int = 4096
  patch: int = 14
  grid: int = 16
  activation: str = 'quick_gelu'
  projection: int = 768
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, image):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = Embeddings(self.width, self.patch, self.grid, name='embeddings', **types)(image)
    # The misspelt name is the published one.
    x = clip_text.norm('pre_layrnorm', self.param_dtype)(x).astype(self.dtype)
    _, x = clip_text.Encoder(self.depth, self.heads, self.hidden, self.activation, False,
                             remat=self.remat, name='encoder', **types)(x)
    pooled = clip_text.norm('post_layernorm', self.param_dtype)(x[:, 0])
    return nn.Dense(self.projection, use_bias=False, name='visual_projection', **types)(pooled)

"""The text encoder of CLIP (Radford et al. 2021) and OpenCLIP; names are those of published files.

Axes: B texts, L tokens, C channels. Norms and softmax are float32 whatever `dtype` the rest has.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from jax3dgen.core.errors import WeightError

PLAIN, PROJECTED = 'CLIPTextModel', 'CLIPTextModelWithProjection'
ACTIVATIONS = {
    'quick_gelu': lambda x: x * nn.sigmoid(1.702 * x),
    'gelu': lambda x: nn.gelu(x, approximate=False),
}


class Attention(nn.Module):
  """x [B, L, C] -> [B, L, C]: self-attention; `causal` masks the tokens after each."""
  heads: int
  causal: bool
  dtype: jnp.dtype
  param_dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    dense = lambda name: nn.Dense(x.shape[-1], dtype=self.dtype, param_dtype=self.param_dtype,
                                  name=name)
    split = lambda y: y.reshape(y.shape[:2] + (self.heads, x.shape[-1] // self.heads))
    q, k, v = (split(dense(name)(x)) for name in ('q_proj', 'k_proj', 'v_proj'))
    output = jax.nn.dot_product_attention(q, k, v, is_causal=self.causal)
    return dense('out_proj')(output.reshape(x.shape))


class Mlp(nn.Module):
  """x [B, L, C] -> [B, L, C] through `hidden` channels."""
  hidden: int
  activation: str
  dtype: jnp.dtype
  param_dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    dense = lambda width, name: nn.Dense(width, dtype=self.dtype, param_dtype=self.param_dtype,
                                         name=name)
    return dense(x.shape[-1], 'fc2')(ACTIVATIONS[self.activation](dense(self.hidden, 'fc1')(x)))


class Layer(nn.Module):
  """x [B, L, C] -> [B, L, C]: attention and an MLP, each after a norm and with a skip."""
  heads: int
  hidden: int
  activation: str
  causal: bool
  dtype: jnp.dtype
  param_dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = x + Attention(self.heads, self.causal, name='self_attn', **types)(
        norm('layer_norm1', self.param_dtype)(x))
    return x + Mlp(self.hidden, self.activation, name='mlp', **types)(
        norm('layer_norm2', self.param_dtype)(x))


class Embeddings(nn.Module):
  """ids [B, L] -> [B, L, C]: the token's row plus the position's."""
  vocabulary: int
  width: int
  length: int
  dtype: jnp.dtype
  param_dtype: jnp.dtype

  @nn.compact
  def __call__(self, ids):
    table = lambda rows, name: nn.Embed(rows, self.width, dtype=self.dtype,
                                        param_dtype=self.param_dtype, name=name)
    positions = table(self.length, 'position_embedding')(jnp.arange(ids.shape[1]))
    return table(self.vocabulary, 'token_embedding')(ids) + positions[None]


class Encoder(nn.Module):
  """x [B, L, C] -> (input of the last layer, its output), each [B, L, C]."""
  depth: int
  heads: int
  hidden: int
  activation: str
  causal: bool
  dtype: jnp.dtype
  param_dtype: jnp.dtype
  remat: bool = False

  @nn.compact
  def __call__(self, x):
    layer = nn.remat(Layer) if self.remat else Layer
    for i in range(self.depth):
      before, x = x, layer(self.heads, self.hidden, self.activation, self.causal, self.dtype,
                           self.param_dtype, name=f'layers_{i}')(x)
    return before, x


class ClipText(nn.Module):
  """ids [B, L] int32 -> (tokens [B, L, width], pooled [B, projection or width]).

  `tokens` is the normed output of the last layer, as SD 1 and 2 read it (SD 2's published encoder
  is OpenCLIP-H without its last layer), or with `penultimate` the input of the last layer, without
  a norm, as in SDXL. `pooled` is the normed output at the end of text, the largest id; with
  `projection` > 0 through a matrix without bias. The fields' defaults are those of CLIP-L.
  """
  vocabulary: int = 49_408
  width: int = 768
  depth: int = 12
  heads: int = 12
  hidden: int = 3072
  length: int = 77
  activation: str = 'quick_gelu'
  projection: int = 0
  penultimate: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, ids):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = Embeddings(self.vocabulary, self.width, self.length, name='embeddings', **types)(ids)
    before, x = Encoder(self.depth, self.heads, self.hidden, self.activation, True,
                        name='encoder', **types)(x)
    last = norm('final_layer_norm', self.param_dtype)(x).astype(self.dtype)
    end = ids.argmax(-1)[:, None, None]
    pooled = jnp.take_along_axis(last, end, 1)[:, 0]
    if self.projection:
      pooled = nn.Dense(self.projection, use_bias=False, name='text_projection', **types)(pooled)
    return before if self.penultimate else last, pooled


def norm(name, param_dtype):
  """A layer norm in float32, with the published epsilon."""
  return nn.LayerNorm(epsilon=1e-5, dtype=jnp.float32, param_dtype=param_dtype, name=name)


def check_norm(config, name):
  """WeightError where a published config of transformers has another epsilon than `norm`."""
  if config.get('layer_norm_eps', 1e-5) != 1e-5:
    raise WeightError(f'The config of the {name} has layer_norm_eps={config["layer_norm_eps"]!r}; '
                      '1e-05 is supported.')


def sizes(config):
  """The fields of `ClipText` for the dict of a published text_encoder/config.json.

  WeightError where the config is of another network.
  """
  try:
    name = config['architectures'][0]
    if name not in (PLAIN, PROJECTED):
      raise WeightError(f'The text encoder is a {name!r}; it must be one of {PLAIN}, {PROJECTED}.')
    if config['hidden_act'] not in ACTIVATIONS:
      raise WeightError(f'The text encoder has hidden_act={config["hidden_act"]!r}; it must be one '
                        f'of {", ".join(ACTIVATIONS)}.')
    check_norm(config, 'text encoder')
    return {
        'vocabulary': int(config['vocab_size']), 'width': int(config['hidden_size']),
        'depth': int(config['num_hidden_layers']), 'heads': int(config['num_attention_heads']),
        'hidden': int(config['intermediate_size']), 'activation': config['hidden_act'],
        'length': int(config['max_position_embeddings']),
        'projection': int(config['projection_dim']) if name == PROJECTED else 0}
  except (KeyError, IndexError, TypeError, ValueError) as error:
    raise WeightError(f'The config of the text encoder has missing or invalid sizes ({error!r}).'
                      ) from error

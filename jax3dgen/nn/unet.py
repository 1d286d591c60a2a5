"""The U-Net of the Stable Diffusion family (Rombach et al. 2022), as its weights are published.

One module for SD 1.x, SD 2.x and SDXL (Podell et al. 2023), for MVDream (Shi et al. 2023), whose
self-attention covers all views of an object, and for zero123++ (Shi et al. 2023), whose second pass
attends to the self-attention states of a first pass over a reference image. `sizes` reads the
published configs.

Axes: B images, V views of an object (B holds objects x V), H and W rows and columns, C channels,
L tokens, E entries of what is added to the time embedding.
"""

from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from jax3dgen.core.errors import WeightError
from jax3dgen.nn import layers
from jax3dgen.nn import unet_blocks as blocks

DIFFUSERS, MULTI_VIEW = 'UNet2DConditionModel', 'MultiViewUNetModel'
WITH, WITHOUT = 'CrossAttn{}Block2D', '{}Block2D'  # kinds of levels, Down or Up
# The only values of these settings of a published config that this net supports (`check_settings`).
ONLY = {
    'act_fn': 'silu', 'attention_type': 'default', 'conv_in_kernel': 3, 'conv_out_kernel': 3,
    'downsample_padding': 1, 'dropout': 0, 'flip_sin_to_cos': True, 'freq_shift': 0,
    'mid_block_scale_factor': 1, 'mid_block_type': 'UNetMidBlock2DCrossAttn', 'norm_eps': 1e-5,
    'resnet_out_scale_factor': 1, 'resnet_time_scale_shift': 'default',
    'time_embedding_type': 'positional',
    'conv_resample': True, 'dims': 2, 'ip_dim': 0,
}
# Settings without effect here: the files and the inputs have these sizes, logits are float32 and a
# linear layer is a convolution over one pixel.
FREE = {
    'in_channels', 'sample_size', 'cross_attention_dim', 'use_linear_projection',
    'upcast_attention', 'addition_embed_type_num_heads', 'addition_time_embed_dim',
    'projection_class_embeddings_input_dim', 'image_size', 'context_dim', 'use_checkpoint',
    'camera_dim', 'ip_weight', 'num_heads_upsample',
}


class Level(nn.Module):
  """`layers` residual blocks, each with a transformer of `depth` blocks, and a layer `last`.

  `last` is downsamplers_0, upsamplers_0, resnets_1 or ''. On the way up every residual block takes
  one of the `skips`. Returns (x, skips for the way up, states of self-attention).
  """
  channels: int
  layers: int
  depth: int
  heads: int
  last: str
  kind: blocks.Kind

  @nn.compact
  def __call__(self, x, embedding, tokens, read, keep, skips=()):
    resnet = lambda name: self.kind.maybe_remat(blocks.Resnet)(self.channels, self.kind, name=name)
    outputs, states = [], []
    for i in range(self.layers):
      if skips:
        x = jnp.concatenate([x, skips[i]], -1)
      x = resnet(f'resnets_{i}')(x, embedding)
      if self.depth:
        x, state = blocks.Transformer(self.depth, self.heads, self.kind, name=f'attentions_{i}')(
            x, tokens, None if read is None else read[i], keep)
        states.append(state)
      outputs.append(x)
    if self.last == 'resnets_1':
      x = resnet(self.last)(x, embedding)
    elif self.last:
      x = blocks.Resize(self.last == 'upsamplers_0', self.kind, name=self.last)(x)
      outputs.append(x)
    return x, outputs, tuple(states)


class UNet(nn.Module):
  """x [B, H, W, c], index t [B] of the noise level (float), tokens [B, L, D] -> [B, H, W, out].

  H and W are multiples of 2^(number of levels - 1). Levels have `channels`, transformers of
  `depths` blocks (0: none) and `heads`; the middle has a transformer of `middle` blocks. `extra`
  [B, E] is added to the time embedding, through two layers called `adds` where that is not empty.
  Self-attention covers all V `views` of an object on the levels `joint` (None: on all).

  With `write`, the states of self-attention are returned as well: (output, states). `read` takes
  those of another pass, over one image for each of the B / V objects, whose size may be another
  (`clone(views=1)` of a net of V views has the same parameters); `keep` [B / V] bool is False where
  it is not attended to. Where the net has `slots`, slot [B] int32 names the row of a table of as
  many vectors, 0 at first and not in published files, that is added to the time embedding: it tells
  a view from the others and from the reference. Positions have no table, as they have in
  `unet_multiview`: the net takes images of any size, and its convolutions know the place.

  A mutable collection 'attention' of `apply` receives the cross-attention weights [B, N, L] of each
  transformer, mean over the heads.
  """
  channels: tuple = (320, 640, 1280, 1280)
  layers: int = 2
  depths: tuple = (1, 1, 1, 0)
  middle: int = 1
  heads: tuple = (8, 8, 8, 8)
  out: int = 4
  groups: int = 32
  views: int = 1
  joint: tuple | None = None
  slots: int = 0
  adds: str = ''
  remat: bool = False
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, t, tokens, extra=None, read=None, write=False, keep=None, slot=None):
    kind = blocks.Kind(self.groups, self.views, True, self.remat, self.dtype, self.param_dtype)
    wide = 4 * self.channels[0]
    embedding = blocks.Embedding(wide, kind, name='time_embedding')(
        layers.sinusoids(t, self.channels[0]))
    if extra is not None:
      embedding = embedding + (blocks.Embedding(wide, kind, name=self.adds)(extra) if self.adds else
                               extra.astype(self.dtype))
    if self.slots:
      table = self.param('slot', nn.initializers.zeros, (self.slots, wide), self.param_dtype)
      embedding = embedding + table.astype(self.dtype)[slot]
    embedding, tokens = nn.silu(embedding), tokens.astype(self.dtype)
    states = {}

    def level(x, name, i, layers, depth, last, skips=()):
      part = Level(self.channels[i], layers, depth, self.heads[i], last,
                   kind._replace(joint=self.joint is None or i in self.joint), name=name)
      x, outputs, states[name] = part(x, embedding, tokens, read and read[name], keep, skips)
      return x, outputs

    bottom = len(self.channels) - 1
    x = blocks.Conv(self.channels[0], kind, name='conv_in')(x)
    skips = [x]
    for i, depth in enumerate(self.depths):
      x, outputs = level(x, f'down_blocks_{i}', i, self.layers, depth,
                         'downsamplers_0' if i < bottom else '')
      skips += outputs
    x, _ = level(x, 'mid_block', bottom, 1, self.middle, 'resnets_1')
    for i in range(bottom, -1, -1):
      level_skips, skips = skips[:-self.layers - 2:-1], skips[:-self.layers - 1]
      x, _ = level(x, f'up_blocks_{bottom - i}', i, self.layers + 1, self.depths[i],
                   'upsamplers_0' if i else '', level_skips)
    x = nn.GroupNorm(self.groups, epsilon=1e-5, use_fast_variance=False, name='conv_norm_out',
                     **kind.types)(x)
    x = blocks.Conv(self.out, kind, name='conv_out')(nn.silu(x))
    return (x, states) if write else x


def size_embedding(pooled, sizes, width=256):
  """SDXL's `extra` [B, P + S width]: pooled text [B, P] and sinusoids of the S sizes [B, S].

  The sizes are those of the original, of the cropped corner and of the target, rows first.
  """
  waves = layers.sinusoids(sizes.reshape(-1).astype(jnp.float32), width)
  return jnp.concatenate([pooled, waves.reshape(sizes.shape[0], -1)], -1)


def sizes(config):
  """The fields of `UNet` for the dict of a published unet/config.json.

  WeightError where the config is of another network, or has a setting that `UNet` does not support.
  """
  config = dict(config)
  name = config.get('_class_name', DIFFUSERS)
  if name not in (DIFFUSERS, MULTI_VIEW):
    raise WeightError(f'The denoiser is a {name!r}; it must be one of {DIFFUSERS}, {MULTI_VIEW}.')
  try:
    fields = (_multi_view if name == MULTI_VIEW else _diffusers)(config)
  except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
    raise WeightError(f'The config of the {name} has missing or invalid sizes ({error!r}).'
                      ) from error
  layers.check_settings(name, config, ONLY, FREE)  # the remaining ones
  return fields


def _diffusers(config):
  """The fields, removed from `config`."""
  channels = tuple(config.pop('block_out_channels'))
  count = len(channels)
  depths = _each(config.pop('transformer_layers_per_block', 1), count)
  kinds = config.pop('down_block_types')
  if ([kind.replace('Up', 'Down') for kind in config.pop('up_block_types')] != list(kinds)[::-1]
      or len(kinds) != count or not {*kinds} <= {WITH.format('Down'), WITHOUT.format('Down')}):
    raise ValueError('down_block_types, up_block_types')
  added_by = config.pop('addition_embed_type', None)
  if added_by not in (None, 'text_time'):
    raise ValueError(f'addition_embed_type={added_by!r}')
  return {
      'channels': channels, 'layers': int(config.pop('layers_per_block', 2)),
      'depths': tuple(depth if kind == WITH.format('Down') else 0
                      for depth, kind in zip(depths, kinds, strict=True)),
      'middle': depths[-1],
      # The published `attention_head_dim` is the number of heads.
      'heads': _each(config.pop('attention_head_dim', 8), count),
      'out': int(config.pop('out_channels', 4)), 'groups': int(config.pop('norm_num_groups', 32)),
      'adds': 'add_embedding' if added_by else ''}


def _multi_view(config):
  """The same for MVDream, whose config has the names of the original code; it was trained with 4
  views."""
  narrowest = config.pop('model_channels')
  channels = tuple(narrowest * m for m in config.pop('channel_mult'))
  resolutions, depth = config.pop('attention_resolutions'), int(config.pop('transformer_depth', 1))
  heads, width = config.pop('num_heads', -1), config.pop('num_head_channels', -1)
  return {
      'channels': channels, 'layers': int(config.pop('num_res_blocks')),
      'depths': tuple(depth if 2**i in resolutions else 0 for i in range(len(channels))),
      'middle': depth, 'out': int(config.pop('out_channels')),
      'heads': tuple(heads if width == -1 else c // width for c in channels),
      'views': 4, 'adds': 'camera_embedding' if config['camera_dim'] else ''}


def _each(value, count):
  """One int for each of `count` levels of an int or a list."""
  values = (value,) * count if isinstance(value, int) else tuple(value)
  if len(values) != count or not all(isinstance(v, int) for v in values):
    raise ValueError(f'{value!r} is not a number for each of {count} levels')
  return values

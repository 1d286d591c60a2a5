"""The KL autoencoder of Stable Diffusion (Rombach et al. 2022); names are those of published files.

Axes: B images, H and W rows and columns of pixels, h and w those of latent cells (8 times fewer in
the published nets), C channels. Norms and softmax are float32 whatever `dtype` the rest has.
"""

from collections.abc import Sequence
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.errors import WeightError
from jax3dgen.nn import layers, unet_blocks

AROUND = ((1, 1), (1, 1))
BELOW_RIGHT = ((0, 1), (0, 1))  # padding of the published encoder's strided convolutions
OVERLAP = 0.25  # smallest share of a tile that its neighbour covers as well
# The only values of these settings of a published config that this net supports, all defaults, and
# those that `sizes` reads or that have no effect here.
ONLY = {'act_fn': 'silu', 'in_channels': 3, 'latents_mean': None, 'latents_std': None,
        'mid_block_add_attention': True, 'out_channels': 3, 'shift_factor': None,
        'use_post_quant_conv': True, 'use_quant_conv': True}
FREE = {'block_out_channels', 'down_block_types', 'force_upcast', 'latent_channels',
        'layers_per_block', 'norm_num_groups', 'sample_size', 'scaling_factor', 'up_block_types'}


class Form(NamedTuple):
  """Settings shared by all layers: the groups of a norm, and the dtypes."""
  groups: int
  dtype: jnp.dtype
  param_dtype: jnp.dtype


def conv(form, width, name, size=3, stride=1, padding=AROUND):
  """A size x size convolution to `width` channels."""
  return nn.Conv(width, (size, size), (stride, stride), padding, dtype=form.dtype,
                 param_dtype=form.param_dtype, name=name)


def norm(form, name):
  """A group norm in float32, with the published epsilon."""
  return nn.GroupNorm(form.groups, epsilon=1e-6, use_fast_variance=False, dtype=jnp.float32,
                      param_dtype=form.param_dtype, name=name)


class Residual(nn.Module):
  """x [B, H, W, C] -> [B, H, W, width]: two convolutions with a skip."""
  form: Form
  width: int

  @nn.compact
  def __call__(self, x):
    h = conv(self.form, self.width, 'conv1')(nn.silu(norm(self.form, 'norm1')(x)))
    h = conv(self.form, self.width, 'conv2')(nn.silu(norm(self.form, 'norm2')(h)))
    if x.shape[-1] != self.width:
      x = conv(self.form, self.width, 'conv_shortcut', size=1, padding='VALID')(x)
    return x + h


class SelfAttention(nn.Module):
  """x [B, h, w, C] -> [B, h, w, C]: one head of attention over all positions."""
  form: Form

  @nn.compact
  def __call__(self, x):
    batch, _, _, channels = x.shape
    dense = lambda name: nn.Dense(channels, dtype=self.form.dtype,
                                  param_dtype=self.form.param_dtype, name=name)
    h = norm(self.form, 'group_norm')(x).reshape(batch, -1, 1, channels)
    h = unet_blocks.attend(dense('to_q')(h), dense('to_k')(h), dense('to_v')(h))
    return x + dense('to_out_0')(h).reshape(x.shape)


class Middle(nn.Module):
  """x [B, h, w, C] -> [B, h, w, C]: a residual block, attention, a residual block."""
  form: Form

  @nn.compact
  def __call__(self, x):
    x = Residual(self.form, x.shape[-1], name='resnets_0')(x)
    x = SelfAttention(self.form, name='attentions_0')(x)
    return Residual(self.form, x.shape[-1], name='resnets_1')(x)


class Resample(nn.Module):
  """x [B, H, W, C] with half or, where `double`, twice the rows and columns."""
  form: Form
  double: bool

  @nn.compact
  def __call__(self, x):
    if self.double:
      return unet_blocks.Conv(x.shape[-1], self.form, 0.5, name='conv')(x)
    return conv(self.form, x.shape[-1], 'conv', stride=2, padding=BELOW_RIGHT)(x)


class Stage(nn.Module):
  """x [B, H, W, C] -> [B, H', W', width]: `depth` residual blocks, then `resample`.

  `resample` is the name of the layer that halves ('downsamplers_0') or doubles ('upsamplers_0')
  rows and columns, or None.
  """
  form: Form
  width: int
  depth: int
  resample: str | None

  @nn.compact
  def __call__(self, x):
    for i in range(self.depth):
      x = Residual(self.form, self.width, name=f'resnets_{i}')(x)
    if self.resample:
      x = Resample(self.form, self.resample == 'upsamplers_0', name=self.resample)(x)
    return x


class Encoder(nn.Module):
  """image [B, H, W, 3] in [-1, 1] -> the posterior's mean and log variance [B, h, w, 2 latent]."""
  form: Form
  widths: Sequence[int]
  depth: int
  latent: int
  remat: bool

  @nn.compact
  def __call__(self, x):
    wrap = nn.remat if self.remat else lambda module: module
    x = conv(self.form, self.widths[0], 'conv_in')(x)
    for i, width in enumerate(self.widths):
      last = i + 1 == len(self.widths)
      x = wrap(Stage)(self.form, width, self.depth, None if last else 'downsamplers_0',
                      name=f'down_blocks_{i}')(x)
    x = wrap(Middle)(self.form, name='mid_block')(x)
    return conv(self.form, 2 * self.latent, 'conv_out')(
        nn.silu(norm(self.form, 'conv_norm_out')(x)))


class Decoder(nn.Module):
  """z [B, h, w, latent] -> image [B, H, W, 3], about in [-1, 1]."""
  form: Form
  widths: Sequence[int]
  depth: int
  remat: bool

  @nn.compact
  def __call__(self, z):
    wrap = nn.remat if self.remat else lambda module: module
    x = conv(self.form, self.widths[-1], 'conv_in')(z)
    x = wrap(Middle)(self.form, name='mid_block')(x)
    for i, width in enumerate(reversed(self.widths)):
      last = i + 1 == len(self.widths)
      x = wrap(Stage)(self.form, width, self.depth + 1, None if last else 'upsamplers_0',
                      name=f'up_blocks_{i}')(x)
    return conv(self.form, 3, 'conv_out')(nn.silu(norm(self.form, 'conv_norm_out')(x)))


class AutoencoderKL(nn.Module):
  """encode: image [B, H, W, 3] in [0, 1] -> x_0 [B, h, w, latent]; decode: its inverse.

  x_0 is the posterior's mean times `scaling`, so that encoding is deterministic. H and W are
  multiples of 2^(len(widths) - 1). The fields' defaults are those of SD 1 and 2; SDXL's `scaling`
  is 0.13025. `remat` recomputes each block in the backward pass.
  """
  widths: Sequence[int] = (128, 256, 512, 512)
  depth: int = 2
  latent: int = 4
  groups: int = 32
  scaling: float = 0.18215
  remat: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  def setup(self):
    form = Form(self.groups, self.dtype, self.param_dtype)
    flat = lambda width, name: conv(form, width, name, size=1, padding='VALID')
    self.encoder = Encoder(form, self.widths, self.depth, self.latent, self.remat)
    self.decoder = Decoder(form, self.widths, self.depth, self.remat)
    self.quant_conv = flat(2 * self.latent, None)
    self.post_quant_conv = flat(self.latent, None)

  def encode(self, image):
    moments = self.quant_conv(self.encoder(2.0 * image - 1.0))
    return self.scaling * moments[..., :self.latent].astype(image.dtype)

  def decode(self, x0):
    image = self.decoder(self.post_quant_conv(x0 / self.scaling))
    return jnp.clip(0.5 * image.astype(x0.dtype) + 0.5, 0.0, 1.0)

  def __call__(self, image):
    return self.decode(self.encode(image))


def sizes(config):
  """The fields of `AutoencoderKL` for the dict of a published vae/config.json.

  WeightError where the config is of another network, or has a setting that this one does not
  support.
  """
  name = config.get('_class_name')
  if name != 'AutoencoderKL':
    raise WeightError(f'The autoencoder is a {name!r}; it must be an AutoencoderKL.')
  layers.check_settings(name, config, ONLY, FREE)
  try:
    fields = {'widths': tuple(map(int, config['block_out_channels'])),
              'depth': int(config['layers_per_block']), 'latent': int(config['latent_channels']),
              'groups': int(config.get('norm_num_groups', 32)),
              'scaling': float(config.get('scaling_factor', 0.18215))}
    kinds = [tuple(config[f'{way}_block_types']) for way in ('down', 'up')]
  except (KeyError, TypeError, ValueError) as error:
    raise WeightError(f'The config of the AutoencoderKL has missing or invalid sizes ({error!r}).'
                      ) from error
  count = len(fields['widths'])
  if kinds != [('DownEncoderBlock2D',) * count, ('UpDecoderBlock2D',) * count]:
    raise WeightError(f'The config of the AutoencoderKL has blocks {kinds}, which this autoencoder '
                      'does not support.')
  return fields


def tiled(function, x, tile, shrink=1, grow=1):
  """function(x [B, H, W, C]) computed in overlapping tiles that are blended linearly.

  `tile` is the side of a tile in cells of shrink x shrink entries of x, each of which becomes grow
  x grow entries of the result. Peak memory is that of one tile. Statistics of the whole image, such
  as norms and attention, become those of a tile: neighbouring tiles differ a little, hence the
  overlap.
  """
  cells = [n // shrink for n in x.shape[1:3]]
  sides = [min(tile, n) for n in cells]
  corners = np.stack(np.meshgrid(*map(_starts, cells, sides), indexing='ij'), -1).reshape(-1, 2)
  if len(corners) == 1:
    return function(x)
  weight = jnp.asarray(np.outer(*(_fade(side * grow) for side in sides)), x.dtype)[None, ..., None]

  def cut(corner):
    size = (x.shape[0], *(side * shrink for side in sides), x.shape[3])
    return function(jax.lax.dynamic_slice(x, (0, *(corner * shrink), 0), size))

  def add(carry, corner):
    total, weights = carry
    at = (0, *(corner * grow), 0)
    put = lambda array, new: jax.lax.dynamic_update_slice(
        array, jax.lax.dynamic_slice(array, at, new.shape) + new, at)
    return (put(total, weight * cut(corner)), put(weights, weight)), None

  out = jax.eval_shape(cut, corners[0])
  rows, columns = (n * grow for n in cells)
  start = (jnp.zeros((out.shape[0], rows, columns, out.shape[3]), out.dtype),
           jnp.zeros((1, rows, columns, 1), out.dtype))
  (total, weights), _ = jax.lax.scan(add, start, jnp.asarray(corners))
  return total / weights


def _starts(cells, side):
  """Where tiles of `side` cells begin that cover `cells` evenly with the least overlap."""
  count = 1 + int(np.ceil((cells - side) / ((1 - OVERLAP) * side)))
  return np.round(np.linspace(0, cells - side, count)).astype(np.int32)


def _fade(size):
  """Blending weights [size] of a tile, which rise linearly from its border over the overlap."""
  near = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
  return np.minimum(near / (OVERLAP * size), 1.0)

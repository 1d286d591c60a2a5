"""A small convolutional classifier of 32 px figurine images, used only to evaluate results.

Axes: B images, K kinds plus the reject class (last), C colours, N azimuth bins. The viewing azimuth
is predicted as a distribution over N = 72 bins of 5 degrees, so that the 8 view sectors (9 bins
each, centred: sector 0 faces the front) come out calibrated near their borders: a sector's
probability is the sum over its bins.
"""

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core.types import Array

SIZE = 32  # pixels per side; larger images are resized
SECTORS = 8
BINS_PER_SECTOR = 9
BINS = SECTORS * BINS_PER_SECTOR


@struct.dataclass
class Logits:
  """kind [B, K + 1] (the last is the reject class), color [B, C], azimuth [B, BINS], face [B]; and
  hidden [B, H], their common features."""
  kind: Array
  color: Array
  azimuth: Array
  face: Array
  hidden: Array


def sector(azimuth):
  """Index of the 45 degree sector of an azimuth [...] in radians; sector 0 is [-22.5, 22.5)."""
  turn = azimuth / (2 * jnp.pi) + 0.5 / SECTORS
  return jnp.floor(jnp.mod(turn, 1.0) * SECTORS).astype(jnp.int32) % SECTORS


def azimuth_target(azimuth, spread_deg):
  """Soft labels [..., BINS] of azimuths [...] (radians): a wrapped normal, std `spread_deg`.

  Bin n is centred on -22.5 + 5 (n + 1/2) degrees.
  """
  centre = 2 * jnp.pi * ((jnp.arange(BINS, dtype=jnp.float32) + 0.5) / BINS - 0.5 / SECTORS)
  kappa = 1.0 / jnp.deg2rad(spread_deg) ** 2  # von Mises, nearly normal
  gap = azimuth[..., None] - jnp.broadcast_to(centre, azimuth.shape + (BINS,))
  return jax.nn.softmax(kappa * (jnp.cos(gap) - 1.0), axis=-1)


def sector_probabilities(azimuth_logits):
  """Azimuth logits [..., BINS] -> probabilities of the view sectors [..., SECTORS]."""
  p = jax.nn.softmax(azimuth_logits, axis=-1)
  return p.reshape(p.shape[:-1] + (SECTORS, BINS_PER_SECTOR)).sum(-1)


class Norm(nn.Module):
  """Whole-sample RMS norm with a gain per channel: cheaper than group norm on a CPU."""

  @nn.compact
  def __call__(self, x):
    gain = self.param('gain', nn.initializers.ones, (x.shape[-1],))
    scale = jax.lax.rsqrt(jnp.square(x).mean((1, 2, 3), keepdims=True) + 1e-6)
    return x * scale * gain[None, None, None, :]


def trunk(images, widths):
  """images [B, S, S, 3] in [0, 1] -> features [B, N]; to be called in a compact __call__.

  Pixels are folded 2 x 2 into channels; then one residual block per resolution S / 2, S / 4, ...
  """
  batch, height, width, channels = images.shape
  x = (2.0 * images - 1.0).reshape(batch, height // 2, 2, width // 2, 2, channels)
  x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // 2, width // 2, 4 * channels)
  for i, features in enumerate(widths):
    stride = 1 if i == 0 else 2
    x = nn.Conv(features, (3, 3), (stride, stride), name=f'down_{i}')(x)
    h = nn.silu(Norm(name=f'norm_{i}_a')(x))
    h = nn.Conv(features, (3, 3), name=f'conv_{i}_a')(h)
    h = nn.silu(Norm(name=f'norm_{i}_b')(h))
    x = x + nn.Conv(features, (3, 3), name=f'conv_{i}_b')(h)
  return nn.silu(Norm(name='norm_out')(x)).reshape(batch, -1)


class Referee(nn.Module):
  """images [B, SIZE, SIZE, 3] in [0, 1] -> Logits."""
  kinds: int
  colors: int
  widths: tuple = (32, 64, 96)
  hidden: int = 64

  @nn.compact
  def __call__(self, images):
    x = nn.silu(nn.Dense(self.hidden, name='hidden')(trunk(images, self.widths)))
    return Logits(
        kind=nn.Dense(self.kinds + 1, name='kind')(x),
        color=nn.Dense(self.colors, name='color')(x),
        azimuth=nn.Dense(BINS, name='azimuth')(x),
        face=nn.Dense(1, name='face')(x)[:, 0],
        hidden=x)


def of(params):
  """The Referee that fits `params`; its sizes are read from their shapes."""
  widths, i = [], 0
  while f'down_{i}' in params:
    widths.append(params[f'down_{i}']['bias'].shape[0])
    i += 1
  return Referee(kinds=params['kind']['bias'].shape[0] - 1, colors=params['color']['bias'].shape[0],
                 widths=tuple(widths), hidden=params['hidden']['bias'].shape[0])

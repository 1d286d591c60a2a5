"""Training data of the referee: figurines from all sides, with artefacts, and negative examples.

Axes: B examples, H and W pixel rows and columns; `u` and `grain` as in `data/figurine_views`.
`REJECTS` are images of no figurine, or of parts of two.
"""

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import rng
from jax3dgen.core.types import Array
from jax3dgen.data import figurines
from jax3dgen.data.figurine_views import (
  DRAWS,
  blur,
  column,
  partner,
  sample,
  sample_views,
  smooth_field,
  spoil,
)
from jax3dgen.nn.referee import SIZE

PATCHES = 4  # per side of a scrambled image


@struct.dataclass
class Examples:
  """images [B, H, W, 3]; kind [B] int32 (len(KINDS) = no figurine), color [B] int32, azimuth [B]
  radians, face [B] in {0, 1}; the last three are undefined where there is no figurine."""
  images: Array
  kind: Array
  color: Array
  azimuth: Array
  face: Array


# Kinds of rejects: (u, grain, images, opacity [B, H, W, 1]) -> images of no figurine.

def noise(u, grain, images, opacity):
  """Independent pixels about a random colour."""
  return u[:, None, None, :3] + column(u, 3, 0.1, 0.6) * grain[..., :3]


def blobs(u, grain, images, opacity):
  """Three soft, saturated ellipses on white."""
  pixel = (np.arange(images.shape[1], dtype=np.float32) + 0.5) / images.shape[1]
  out = jnp.ones_like(images)
  for i in range(3):
    v = u[:, 1 + 8 * i:]
    y = (pixel[None, :, None, None] - column(v, 0, 0.25, 0.75)) / column(v, 1, 0.06, 0.3)
    x = (pixel[None, None, :, None] - column(v, 2, 0.25, 0.75)) / column(v, 3, 0.06, 0.3)
    cover = jax.nn.sigmoid(column(u, 0, 2.0, 20.0) * (1.0 - y ** 2 - x ** 2))
    out = out + cover * (v[:, None, None, 4:7] ** 2 - out)  # squared: more of the saturated ones
  return out


def fog(u, grain, images, opacity):
  """A smooth, pale field, as of a radiance field without a surface."""
  field = smooth_field(u, images.shape[1])
  return 1.0 - column(u, -1, 0.0, 0.7) * (field + 0.05 * grain[..., :3])


def blank(u, grain, images, opacity):
  """One colour; white in half of the cases."""
  color = jnp.where(column(u, 3) < 0.5, 1.0, u[:, None, None, :3])
  return jnp.broadcast_to(color, images.shape)


def half_noised(u, grain, images, opacity):
  """A figurine under noise of the same strength."""
  scale = column(u, 0, 0.45, 0.8)
  return (1.0 - scale) * images + scale * (0.5 + 0.5 * grain[..., :3])


def scrambled(u, grain, images, opacity):
  """The patches of a figurine in a random order."""
  batch, size = images.shape[:2]
  side = size // PATCHES
  cut = images.reshape(batch, PATCHES, side, PATCHES, side, 3).transpose(0, 1, 3, 2, 4, 5)
  order = jnp.argsort(u[:, :PATCHES ** 2], -1)
  cut = jnp.take_along_axis(cut.reshape(batch, PATCHES ** 2, side, side, 3),
                            order[:, :, None, None, None], 1)
  cut = cut.reshape(batch, PATCHES, PATCHES, side, side, 3).transpose(0, 1, 3, 2, 4, 5)
  return cut.reshape(images.shape)


def halves(u, grain, images, opacity):
  """One half of a figurine beside, or above, the other half of one of another kind."""
  first = np.arange(images.shape[1]) < images.shape[1] // 2
  beside = column(u, 0) < 0.5
  return jnp.where(jnp.where(beside, first[None, None, :, None], first[None, :, None, None]),
                   images, partner(images))


def double_exposure(u, grain, images, opacity):
  """Two figurines of different kinds, of equal strength."""
  return images + column(u, 0, 0.4, 0.6) * (partner(images) - images)


def painted_silhouette(u, grain, images, opacity):
  """The outline of a figurine filled with random saturated colours."""
  field = smooth_field(u, images.shape[1])
  paint = jnp.clip(0.5 + column(u, -1, 2.0, 6.0) * (field - 0.5), 0.0, 1.0)
  return 1.0 + opacity * (paint - 1.0)


def smeared(u, grain, images, opacity):
  """A figurine blurred to a blob, its colours strengthened."""
  soft = blur(images, column(u, 0, 3.5, 8.0)[:, 0, 0, 0])
  return 1.0 - column(u, 1, 0.7, 2.5) * (1.0 - soft)


def stripes(u, grain, images, opacity):
  """Waves of two colours in a random direction."""
  pixel = np.arange(images.shape[1], dtype=np.float32)
  angle = (column(u, 0, -1.5, 1.5) * pixel[None, :, None, None]
           + column(u, 1, -1.5, 1.5) * pixel[None, None, :, None] + column(u, 2, 0.0, 2 * np.pi))
  first, second = u[:, None, None, 3:6], u[:, None, None, 6:9]
  return first + (0.5 + 0.5 * jnp.sin(angle)) * (second - first)


REJECTS = {f.__name__: f for f in (
    noise, blobs, fog, blank, half_noised, scrambled, halves, double_exposure, painted_silhouette,
    smeared, stripes)}


def rejects(which, u, grain, images, opacity):
  """Rejects: row b is the REJECTS function number which[b] of row b (and its partner)."""
  out = images
  for i, make in enumerate(REJECTS.values()):
    out = jnp.where((which == i)[:, None, None, None], make(u, grain, images, opacity), out)
  return jnp.clip(out, 0.0, 1.0)


def draw(key, batch, cfg, strength=1.0, clean_share=0.0, reject_share=0.0, which=None):
  """Examples [batch] (even); the last `reject_share` of them are rejects.

  All but a share `clean_share` pass through `spoil` with up to `strength`, figurines or not, so
  that sharpness does not reveal the class.

  cfg is the `views` section of the referee's config. A face counts as visible where it covers
  cfg.face_share of the figurine's outline. `which` [batch] are the kinds of the rejects
  (indices of REJECTS); None: random ones.
  """
  if batch % 2:
    raise ValueError(f'The batch must be even, because rows are paired; got {batch}.')
  figurine = sample(rng.stream(key, 'figurine'), batch)
  camera = sample_views(rng.stream(key, 'camera'), batch, cfg)
  picture = figurines.render(figurine, camera, SIZE)
  u = jax.random.uniform(rng.stream(key, 'amounts'), (batch, DRAWS))
  grain = jax.random.normal(rng.stream(key, 'grain'), (batch, SIZE, SIZE, 4))
  if which is None:
    which = jax.random.randint(rng.stream(key, 'which'), (batch,), 0, len(REJECTS))
  n = batch - 2 * round(0.5 * reject_share * batch)  # figurines; pairs stay whole
  wrong = rejects(which[n:], u[n:], grain[n:], picture.rgb[n:], picture.opacity[n:, ..., None])
  clean = jax.random.bernoulli(rng.stream(key, 'clean'), clean_share, (batch, 1, 1, 1))
  return Examples(
      images=spoil(u[:, ::-1], grain[:, ::-1], jnp.concatenate([picture.rgb[:n], wrong]),
                   jnp.where(clean, 0.0, strength)),
      kind=figurine.kind.at[n:].set(len(figurines.KINDS)),
      color=figurine.color, azimuth=camera.azimuth,
      face=(picture.face > cfg.face_share * picture.opacity.mean((1, 2))).astype(jnp.float32))

"""What the referee learns from: figurines seen from everywhere, spoilt ones, and no figurines.

Axes: B examples, H and W pixel rows and columns. Images are float32 in [0, 1] on white. Views are
uniform in azimuth, unlike the biased views the prior learns from. `spoil` imitates what a radiance
field does to a picture (blur, speckle, pale or drifting colours, ghosts); `REJECTS` are pictures
that show no figurine, or parts of two.
"""

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import rng
from jax3dgen.core.types import Array
from jax3dgen.data import figurines
from jax3dgen.nn.referee import SIZE

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601
PATCHES = 4  # a scrambled picture is cut into PATCHES x PATCHES


@struct.dataclass
class Examples:
  """images [B, H, W, 3]; kind [B] int32 (len(KINDS) = no figurine), color [B] int32, azimuth [B]
  radians, face [B] in {0, 1}; the last three mean nothing where there is no figurine."""
  images: Array
  kind: Array
  color: Array
  azimuth: Array
  face: Array


def uniform(key, shape, low, high):
  return jax.random.uniform(key, shape, minval=low, maxval=high)


def shift(camera, right, up):
  """The cameras moved sideways in their image planes by `right`, `up` [B] units."""
  step = right[:, None] * camera.c2w[:, :3, 0] + up[:, None] * camera.c2w[:, :3, 1]
  return camera.replace(c2w=camera.c2w.at[:, :3, 3].add(step))


def sample(key, batch):
  """`batch` random figurines: neighbours in a pair (2 n, 2 n + 1) are of different kinds."""
  k_kind, k_color, k_hat = jax.random.split(key, 3)
  count = len(figurines.KINDS)
  kind = (jnp.arange(batch) + jax.random.randint(k_kind, (), 0, count)) % count
  return figurines.Figurine(
      kind=kind.astype(jnp.int32),
      color=jax.random.randint(k_color, (batch,), 0, len(figurines.COLORS)),
      hat=jax.random.bernoulli(k_hat, 0.3, (batch,)).astype(jnp.int32))


def sample_views(key, batch, cfg):
  """Cameras [batch] uniform in azimuth, mostly at low elevation, with jittered distance and aim."""
  keys = jax.random.split(key, 7)
  azimuth = uniform(keys[0], (batch,), -np.pi, np.pi)
  low, high = np.deg2rad(np.asarray(cfg.elevation_deg, np.float32))
  steep = jax.random.bernoulli(keys[1], cfg.steep_share, (batch,))
  high = jnp.where(steep, np.deg2rad(np.float32(cfg.steep_deg)), high)
  elevation = low + (high - low) * jax.random.uniform(keys[2], (batch,))
  distance = uniform(keys[3], (batch,), *cfg.distance)
  fovy = np.deg2rad(np.float32(cfg.fovy_deg))
  camera = cameras.orbit(azimuth, elevation, distance, fovy)
  return shift(camera, uniform(keys[4], (batch,), -cfg.shift, cfg.shift),
               uniform(keys[5], (batch,), -cfg.shift, cfg.shift))


def blur(images, sigma):
  """Gaussian blur of images [B, H, W, C] by sigma [B] pixels; edges are renormalised."""
  def matrix(size):
    gap = jnp.arange(size)[:, None] - jnp.arange(size)[None, :]
    weight = jnp.exp(-0.5 * (gap[None] / jnp.maximum(sigma, 1e-3)[:, None, None]) ** 2)
    return weight / weight.sum(-1, keepdims=True)
  rows, columns = matrix(images.shape[1]), matrix(images.shape[2])
  return jnp.einsum('bij,bjkc,blk->bilc', rows, images, columns)


def smooth_field(key, batch, size, cells, channels=3):
  """Random fields [B, size, size, channels] with values in [0, 1] that vary over `cells` cells."""
  coarse = jax.random.uniform(key, (batch, cells, cells, channels))
  return jax.image.resize(coarse, (batch, size, size, channels), 'linear')


def spoil(key, images, strength=1.0):
  """images [B, H, W, 3] as a radiance field might show them; every row by its own amounts.

  strength scales all amounts; 0 leaves the images as they are. A ghost of the partner row (of
  another kind) at up to 15 % imitates a half-formed second object.
  """
  batch, size = images.shape[:2]
  keys = iter(jax.random.split(key, 16))
  amount = lambda high: strength * uniform(next(keys), (batch, 1, 1, 1), 0.0, high)
  sometimes = lambda share: jax.random.bernoulli(next(keys), share, (batch, 1, 1, 1))
  ghost = amount(0.15) * sometimes(0.3)
  images = images + ghost * (partner(images) - images)
  images = blur(images, amount(1.2)[:, 0, 0, 0])
  grey = jnp.sum(images * GREY[None, None, None, :], -1, keepdims=True)
  images = images + amount(0.4) * (grey - images)
  drift = smooth_field(next(keys), batch, size, 4) - 0.5
  images = images * (1.0 + amount(0.4) * drift) - amount(0.12)
  dots = uniform(next(keys), (batch, size, size, 1), 0.0, 1.0) < amount(0.04) * sometimes(0.5)
  images = jnp.where(dots, jax.random.uniform(next(keys), images.shape), images)
  return jnp.clip(images + amount(0.08) * jax.random.normal(next(keys), images.shape), 0.0, 1.0)


def partner(x):
  """The rows of x [B, ...] with those of each pair (2 n, 2 n + 1) exchanged; B is even."""
  return x.reshape((-1, 2) + x.shape[1:])[:, ::-1].reshape(x.shape)


# Each reject: (key, images [B, H, W, 3], opacity [B, H, W, 1]) -> images that show no figurine.

def noise(key, images, opacity):
  """Independent pixels about a random colour."""
  k_mean, k_scale, k = jax.random.split(key, 3)
  batch = images.shape[0]
  mean = jax.random.uniform(k_mean, (batch, 1, 1, 3))
  return mean + uniform(k_scale, (batch, 1, 1, 1), 0.1, 0.6) * jax.random.normal(k, images.shape)


def blobs(key, images, opacity):
  """Three soft, saturated ellipses on white."""
  batch, size = images.shape[:2]
  k_place, k_size, k_color, k_hard = jax.random.split(key, 4)
  grid = (jnp.arange(size) + 0.5) / size
  place = uniform(k_place, (2, batch, 1, 1, 3), 0.25, 0.75)
  width = uniform(k_size, (2, batch, 1, 1, 3), 0.06, 0.3)
  y = (grid[None, :, None, None] - place[0]) / width[0]
  x = (grid[None, None, :, None] - place[1]) / width[1]
  hardness = uniform(k_hard, (batch, 1, 1, 1), 2.0, 20.0)
  cover = jax.nn.sigmoid(hardness * (1.0 - y ** 2 - x ** 2))
  color = jax.random.uniform(k_color, (batch, 3, 3)) ** 2  # squared: more of the saturated ones
  out = jnp.ones_like(images)
  for i in range(3):
    out = out + cover[..., i:i + 1] * (color[:, None, None, i] - out)
  return out


def fog(key, images, opacity):
  """A smooth, pale field: what is left of a field that grew no surface."""
  k_field, k_depth, k_noise = jax.random.split(key, 3)
  batch, size = images.shape[:2]
  depth = uniform(k_depth, (batch, 1, 1, 1), 0.0, 0.7)
  grain = 0.05 * jax.random.normal(k_noise, images.shape)
  return 1.0 - depth * smooth_field(k_field, batch, size, 5) + depth * grain


def blank(key, images, opacity):
  """One colour; white in half of the cases."""
  k_white, k_color = jax.random.split(key)
  shape = (images.shape[0], 1, 1, 3)
  white = jax.random.bernoulli(k_white, 0.5, shape[:3] + (1,))
  return jnp.broadcast_to(jnp.where(white, 1.0, jax.random.uniform(k_color, shape)), images.shape)


def half_noised(key, images, opacity):
  """A figurine under as much noise as picture."""
  k_scale, k = jax.random.split(key)
  scale = uniform(k_scale, (images.shape[0], 1, 1, 1), 0.45, 0.8)
  return (1.0 - scale) * images + scale * (0.5 + 0.5 * jax.random.normal(k, images.shape))


def scrambled(key, images, opacity):
  """The patches of a figurine in a random order."""
  batch, size = images.shape[:2]
  side = size // PATCHES
  cut = images.reshape(batch, PATCHES, side, PATCHES, side, 3).transpose(0, 1, 3, 2, 4, 5)
  order = jnp.argsort(jax.random.uniform(key, (batch, PATCHES * PATCHES)), -1)
  cut = jnp.take_along_axis(cut.reshape(batch, PATCHES * PATCHES, side, side, 3),
                            order[:, :, None, None, None], 1)
  cut = cut.reshape(batch, PATCHES, PATCHES, side, side, 3).transpose(0, 1, 3, 2, 4, 5)
  return cut.reshape(images.shape)


def halves(key, images, opacity):
  """One half of a figurine beside, or above, the other half of one of another kind."""
  batch, size = images.shape[:2]
  first = (jnp.arange(size) < size // 2)
  upright = jax.random.bernoulli(key, 0.5, (batch, 1, 1, 1))
  mask = jnp.where(upright, first[None, None, :, None], first[None, :, None, None])
  return jnp.where(mask, images, partner(images))


def double_exposure(key, images, opacity):
  """Two figurines of different kinds, one as strong as the other."""
  share = uniform(key, (images.shape[0], 1, 1, 1), 0.4, 0.6)
  return images + share * (partner(images) - images)


def painted_silhouette(key, images, opacity):
  """The outline of a figurine filled with saturated, meaningless colours."""
  k_field, k_gain = jax.random.split(key)
  field = smooth_field(k_field, images.shape[0], images.shape[1], 6)
  gain = uniform(k_gain, (images.shape[0], 1, 1, 1), 2.0, 6.0)
  return 1.0 + opacity * (jnp.clip(0.5 + gain * (field - 0.5), 0.0, 1.0) - 1.0)


def smeared(key, images, opacity):
  """A figurine blurred to a blob, its colours strengthened."""
  k_blur, k_gain = jax.random.split(key)
  batch = images.shape[0]
  soft = blur(images, uniform(k_blur, (batch,), 3.5, 8.0))
  return 1.0 - uniform(k_gain, (batch, 1, 1, 1), 0.7, 2.5) * (1.0 - soft)


def stripes(key, images, opacity):
  """Waves of two colours in a random direction."""
  k_wave, k_color, k_phase = jax.random.split(key, 3)
  batch, size = images.shape[:2]
  wave = uniform(k_wave, (2, batch, 1, 1), -1.5, 1.5)
  phase = uniform(k_phase, (batch, 1, 1), 0.0, 2 * np.pi)
  pixel = jnp.arange(size, dtype=jnp.float32)
  angle = wave[0] * pixel[None, :, None] + wave[1] * pixel[None, None, :] + phase
  color = jax.random.uniform(k_color, (2, batch, 1, 1, 3))
  return color[0] + (0.5 + 0.5 * jnp.sin(angle))[..., None] * (color[1] - color[0])


REJECTS = {f.__name__: f for f in (
    noise, blobs, fog, blank, half_noised, scrambled, halves, double_exposure, painted_silhouette,
    smeared, stripes)}


def rejects(key, images, opacity, which):
  """No figurines: row b of REJECTS number which[b], made from row b (and its partner)."""
  out = images
  for i, (name, make) in enumerate(REJECTS.items()):
    made = make(rng.stream(key, name), images, opacity)
    out = jnp.where((which == i)[:, None, None, None], made, out)
  return jnp.clip(out, 0.0, 1.0)


def draw(key, batch, cfg, strength=1.0, reject_share=0.0):
  """Examples [batch] (even): `spoil`ed by up to `strength`; the last ones are no figurines.

  cfg is the `views` section of `train.referee_config`. A face counts as visible where it covers
  cfg.face_share of the figurine's outline.
  """
  if batch % 2:
    raise ValueError(f'The batch must be even, for its rows are paired; got {batch}.')
  figurine = sample(rng.stream(key, 'figurine'), batch)
  camera = sample_views(rng.stream(key, 'camera'), batch, cfg)
  picture = figurines.render(figurine, camera, SIZE)
  n = batch - 2 * round(0.5 * reject_share * batch)  # figurines; pairs stay whole
  which = jax.random.randint(rng.stream(key, 'which'), (batch - n,), 0, len(REJECTS))
  wrong = rejects(rng.stream(key, 'rejects'), picture.rgb[n:], picture.opacity[n:, ..., None],
                  which)
  good = spoil(rng.stream(key, 'spoil'), picture.rgb[:n], strength)
  return Examples(
      images=jnp.concatenate([good, wrong]),
      kind=figurine.kind.at[n:].set(len(figurines.KINDS)),
      color=figurine.color, azimuth=camera.azimuth,
      face=(picture.face > cfg.face_share * picture.opacity.mean((1, 2))).astype(jnp.float32))

"""Views of random figurines, uniform in azimuth, and artefacts of radiance fields.

Axes: B images, H and W pixel rows and columns. Images are float32 in [0, 1] on white. Views are
uniform in azimuth, unlike the biased views of the prior's training data. `spoil` adds artefacts of
radiance fields: blur, speckle, pale or drifting colours, ghosts.

Random numbers are drawn once for all uses: `u` [B, DRAWS] uniform in [0, 1) for the amounts of each
row, `grain` [B, H, W, 4] standard normal for its pixels. Separate draws would compile for minutes.
"""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import rng
from jax3dgen.data import figurines

SIZE = 32  # pixels per side of the embedded world's pictures
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601
DRAWS = 128
CELLS = 6  # cells per side of a smooth random field: 3 CELLS^2 numbers
HAT_SHARE = 0.3


def default_config():
  """A ConfigDict with the section `views`, which `sample_views` takes."""
  c = ConfigDict()
  c.views = ConfigDict()
  c.views.elevation_deg = (-10.0, 40.0)  # range of elevations of most views
  c.views.steep_deg = 60.0  # highest elevation of the other ones
  c.views.steep_share = 0.2  # share of the other ones
  c.views.distance = (2.6, 3.3)  # range of distances; the object fits the unit ball
  c.views.fovy_deg = 40.0  # vertical field of view
  c.views.shift = 0.12  # the camera moves sideways by up to this many units
  return c


def column(u, i, low=0.0, high=1.0):
  """Number i of each row of u [B, DRAWS], stretched to [low, high), as [B, 1, 1, 1]."""
  return (low + (high - low) * u[:, i])[:, None, None, None]


def shift(camera, right, up):
  """The cameras moved sideways in their image planes by `right`, `up` [B] units."""
  step = right[:, None] * camera.c2w[:, :3, 0] + up[:, None] * camera.c2w[:, :3, 1]
  return camera.replace(c2w=camera.c2w.at[:, :3, 3].add(step))


def sample(key, batch):
  """`batch` random figurines: neighbours in a pair (2 n, 2 n + 1) are of different kinds."""
  u = jax.random.uniform(key, (batch, 3))
  turn = jnp.floor(u[0, 2] * len(figurines.KINDS)).astype(jnp.int32)
  return figurines.Figurine(
      kind=(jnp.arange(batch, dtype=jnp.int32) + turn) % len(figurines.KINDS),
      color=jnp.floor(u[:, 0] * len(figurines.COLORS)).astype(jnp.int32),
      hat=(u[:, 1] < HAT_SHARE).astype(jnp.int32))


def sample_views(key, batch, cfg):
  """Cameras [batch] uniform in azimuth, mostly at low elevation, with jittered distance and aim."""
  u = jax.random.uniform(key, (6, batch))
  low, high = np.deg2rad(np.asarray(cfg.elevation_deg, np.float32))
  high = jnp.where(u[1] < cfg.steep_share, np.deg2rad(np.float32(cfg.steep_deg)), high)
  near, far = cfg.distance
  camera = cameras.orbit(2 * np.pi * (u[0] - 0.5), low + (high - low) * u[2],
                         near + (far - near) * u[3], np.deg2rad(np.float32(cfg.fovy_deg)))
  return shift(camera, cfg.shift * (2 * u[4] - 1), cfg.shift * (2 * u[5] - 1))


def blur(images, sigma):
  """Gaussian blur of images [B, H, W, C] by sigma [B] pixels; edges are renormalised."""
  def matrix(size):
    gap = np.arange(size, dtype=np.float32)[:, None] - np.arange(size, dtype=np.float32)[None]
    weight = jnp.exp(-0.5 * (gap[None] / jnp.maximum(sigma, 1e-3)[:, None, None]) ** 2)
    return weight / weight.sum(-1, keepdims=True)
  x = jnp.einsum('bij,bjkc->bikc', matrix(images.shape[1]), images)
  return jnp.einsum('bkl,bilc->bikc', matrix(images.shape[2]), x)


def smooth_field(u, size):
  """u [B, DRAWS] -> fields [B, size, size, 3] in [0, 1) that vary over CELLS cells."""
  coarse = u[:, :3 * CELLS ** 2].reshape(-1, CELLS, CELLS, 3)
  return jax.image.resize(coarse, (u.shape[0], size, size, 3), 'linear')


def spoil(u, grain, images, strength=1.0):
  """images [B, H, W, 3] with artefacts of radiance fields, of random amounts per row.

  strength ([] or [B, 1, 1, 1]) scales all amounts; 0 leaves the images as they are. A ghost of the
  partner row (of another kind) has up to 15 % of its contrast.
  """
  amount = lambda i, high: strength * column(u, -i, 0.0, high)  # the field takes the first numbers
  sometimes = lambda i, share: column(u, -i) < share
  images = images + amount(1, 0.15) * sometimes(2, 0.3) * (partner(images) - images)
  images = blur(images, amount(3, 1.2)[:, 0, 0, 0])
  grey = jnp.sum(images * GREY[None, None, None, :], -1, keepdims=True)
  images = images + amount(4, 0.4) * (grey - images)
  drift = smooth_field(u, images.shape[1]) - 0.5
  images = images * (1.0 + amount(5, 0.4) * drift) - amount(6, 0.12)
  dots = jax.scipy.stats.norm.cdf(grain[..., 3:]) < amount(7, 0.04) * sometimes(8, 0.5)
  return jnp.clip(images + jnp.where(dots, 0.6, amount(9, 0.08)) * grain[..., :3], 0.0, 1.0)


def partner(x):
  """The rows of x [B, ...] with those of each pair (2 n, 2 n + 1) exchanged; B is even."""
  return x.reshape((-1, 2) + x.shape[1:])[:, ::-1].reshape(x.shape)


def pictures(key, batch, count, views):
  """(images [batch, 32, 32, 3], Figurine, Camera) of `count` (even) figurines.

  Azimuths are uniform; `count` divides batch. Neighbours in a pair (2 n, 2 n + 1) are of different
  kinds. `views` is the section of the config.
  """
  figurine = sample(rng.stream(key, 'figurine'), count)
  figurine = jax.tree.map(lambda x: jnp.tile(x, batch // count), figurine)
  camera = sample_views(rng.stream(key, 'camera'), batch, views)
  return figurines.render(figurine, camera, SIZE).rgb, figurine, camera

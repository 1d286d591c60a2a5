"""Random captioned images of figurines: the training data of the embedded prior.

Axes: B examples, S pixels per side, L caption tokens. Everything is drawn and rendered inside jit.
Azimuths are biased to the front, as in photographs: the bias that causes the Janus problem.
"""

from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core import camera as cameras
from jax3dgen.core import rng
from jax3dgen.core.types import Array, Camera
from jax3dgen.data import captions, degradations, figurines, prompts

DEGRADATIONS, LENGTH = prompts.DEGRADATIONS, captions.LENGTH


@struct.dataclass
class Example:
  """B captioned images: image [B, S, S, 3] with its fault, tokens [B, L] int32 (see `words`), and
  the truth: figurine, camera, degradation [B] (into DEGRADATIONS), view [B]
  (the phrase true of the camera), phrase and second [B] (those in the caption; all into
  `prompts.VIEW_PHRASES`, 0 = none), face [B] (share of the image that shows the face)."""
  image: Array
  tokens: Array
  figurine: figurines.Figurine
  camera: Camera
  degradation: Array
  view: Array
  phrase: Array
  second: Array
  face: Array


def words():
  """The closed vocabulary of the captions; index 0 is padding."""
  return list(captions.WORDS)


def draw(key, batch, *, uniform=0.1, spread_deg=30.0, phrase=0.5, double_phrase=0.03, degraded=0.05,
         hat=0.1, above=0.08, elevation_deg=(-5.0, 35.0), above_deg=(40.0, 65.0),
         distance=(2.8, 3.0), fovy_deg=40.0, size=32, samples=2):
  """A random Example of `batch` captioned images.

  The azimuth is uniform with probability `uniform` and else normal about the front with
  `spread_deg`: the default puts 80 % of the views within 45 degrees of the front and 2.5 % behind.
  `above` is the share of the views from the elevations `above_deg`. `phrase`, `double_phrase`: see
  `captions.sample_captions`; `degraded` and `hat` are the shares of images with a fault, with a
  hat.
  """
  u = lambda name, low=0.0, high=1.0: jax.random.uniform(
      rng.stream(key, name), (batch,), minval=low, maxval=high)
  pick = lambda name, n: jax.random.randint(rng.stream(key, name), (batch,), 0, n)
  figurine = figurines.Figurine(
      pick('kind', len(figurines.KINDS)), pick('color', len(figurines.COLORS)),
      (u('hat') < hat).astype(jnp.int32))
  ahead = jnp.deg2rad(spread_deg) * jax.random.normal(rng.stream(key, 'ahead'), (batch,))
  azimuth = jnp.where(u('uniform') < uniform, u('around', -jnp.pi, jnp.pi), ahead)
  elevation = jnp.where(u('above') < above, u('high', *above_deg), u('low', *elevation_deg))
  camera = cameras.orbit(cameras.wrap(azimuth), jnp.deg2rad(elevation),
                         u('distance', *distance), jnp.deg2rad(fovy_deg))
  degradation = jnp.where(u('degraded') < degraded, 1 + pick('fault', len(DEGRADATIONS) - 1), 0)
  view = captions.view_phrase(camera)
  caption = captions.sample_captions(
      rng.stream(key, 'caption'), figurine.kind, figurine.color, figurine.hat, view, degradation,
      phrase=phrase, double_phrase=double_phrase)
  image = figurines.render(figurine, camera, size, samples)
  rgb = degradations.degrade(rng.stream(key, 'degrade'), image.rgb, degradation)
  return Example(rgb, caption.tokens, figurine, camera, degradation, view, caption.phrase,
                 caption.second, image.face)

"""Figurines of a world for five views: two hands of different colours, a tint, a scale per axis.

All five pictures of an object are exact: orthographic renders of the same primitives. An error of a
generated view is then measurable, such as hands that are exchanged or a hat that is missing.

Axes: B objects, V = len(SLOTS) views, S = SIZE pixels per side, R = len(figurines.REGIONS).
"""

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Array
from jax3dgen.data import figurine_parts as parts
from jax3dgen.data import figurines

SLOTS = ('front', 'right', 'back', 'left', 'top')
SIDES = 4  # the first of SLOTS, one of which is the reference
AZIMUTH_DEG, ELEVATION_DEG = (0.0, 270.0, 180.0, 90.0, 0.0), (0.0, 0.0, 0.0, 0.0, 89.0)
SIZE = 32  # pixels per side
DISTANCE, FOVY_DEG = 2.9, 40.0  # a window of 2.11 units
# Far from the cyan of a left and the magenta of a right hand in `figurine_parts`, by which the
# referee tells front from back, and from the colours of the pack.
HANDS = ('navy', 'lilac', 'mint', 'brown')
HAND_RGB = np.array([(0.08, 0.10, 0.40), (0.75, 0.60, 0.95), (0.45, 0.95, 0.70),
                     (0.40, 0.22, 0.09)], np.float32)
HAT_SHARE = 0.4
TINT, SCALE, HAND = (0.85, 1.12), (0.85, 1.06), (1.2, 1.6)  # ranges, uniform
SPLITS = ('train', 'validation', 'test')


@struct.dataclass
class Objects:
  """B objects.

  kind [B] into figurines.KINDS, color [B] into figurines.COLORS, hat [B] (0 or 1), left and right
  [B] into HANDS, never equal, all int32; tint [B, 3] multiplies the body's colour, scale [B, 3]
  the shape along x, y, z, hand [B] the size of the hands.
  """
  kind: Array
  color: Array
  hat: Array
  left: Array
  right: Array
  tint: Array
  scale: Array
  hand: Array


@jax.jit
def _draw(key, numbers):
  def one(number):
    key_of_object = jax.random.fold_in(key, number)
    u = lambda name, limits, shape=(): jax.random.uniform(
        rng.stream(key_of_object, name), shape, minval=limits[0], maxval=limits[1])
    pick = lambda name, count: jax.random.randint(rng.stream(key_of_object, name), (), 0, count)
    left = pick('left', len(HANDS))
    return Objects(
        pick('kind', len(figurines.KINDS)), pick('color', len(figurines.COLORS)),
        (u('hat', (0, 1)) < HAT_SHARE).astype(jnp.int32), left,
        (left + 1 + pick('right', len(HANDS) - 1)) % len(HANDS),
        u('tint', TINT, (3,)), u('scale', SCALE, (3,)), u('hand', HAND))
  return jax.vmap(one)(numbers)


def draw(split, count, first=0):
  """The random Objects `first` to `first + count` of a split; each is the same in every draw.

  ConfigError where there is no split of that name. No object is in two splits: their seeds differ,
  and their tints are real numbers.
  """
  if split not in SPLITS:
    raise ConfigError(f'split={split!r}: the splits are {", ".join(SPLITS)}.')
  return _draw(rng.stream(jax.random.key(0), f'multiview {split}'), first + jnp.arange(count))


def reference_slots(count, first=0):
  """The views [count] int32 that are the references of the objects from `first` on: front, right,
  back and left in turn."""
  return ((first + np.arange(count)) % SIDES).astype(np.int32)


def at_slot(views, slot):
  """The view [N, ...] that is the reference of each object, of views [N, V, ...]; slot [N]."""
  return views[np.arange(len(slot)), slot]


def primitives(objects):
  """{shape: figurines.Primitives} of B objects.

  The radius of a cone, which stays round, grows as the mean of those along x and y.
  """
  color = jnp.clip(jnp.asarray(parts.COLOR_RGB)[objects.color] * objects.tint, 0.0, 1.0)
  solids = figurines.primitives(objects, color)
  scale = objects.scale
  radius = scale[:, :2].mean(-1, keepdims=True)
  of_cone = jnp.concatenate([radius, radius, scale[:, 2:]], -1)

  def change(shape, group):
    left, right = group.region == parts.LEFT, group.region == parts.RIGHT
    rgb = group.rgb
    for side, of_hand in ((left, objects.left), (right, objects.right)):
      rgb = jnp.where(side[..., None], jnp.asarray(HAND_RGB)[of_hand][None], rgb)
    size = group.size * (of_cone if shape == 'cone' else scale)[None]
    size = jnp.where((left | right)[..., None], size * objects.hand[None, :, None], size)
    return figurines.Primitives(group.center * scale[None], size, rgb, group.region)
  return {shape: change(shape, group) for shape, group in solids.items()}


def trace(objects, size=SIZE):
  """figurines.Image of all views of B objects, with leaves [B, V, ...].

  `regions` [B, V, S, S, R] says which pixels are the left hand, the right hand, the hat.
  """
  count, views = objects.kind.shape[0], len(SLOTS)
  repeat = lambda x, axis: jnp.repeat(x, views, axis, total_repeat_length=count * views)
  solids = jax.tree.map(lambda x: repeat(x, 1), primitives(objects))
  azimuth, elevation = (jnp.tile(jnp.deg2rad(jnp.asarray(x)), count)
                        for x in (AZIMUTH_DEG, ELEVATION_DEG))
  camera = cameras.orbit(azimuth, elevation, DISTANCE, np.deg2rad(FOVY_DEG), orthographic=True)
  return jax.tree.map(lambda x: x.reshape(count, views, *x.shape[1:]),
                      figurines.trace(solids, camera, size))


def render(objects, size=SIZE):
  """Pictures [B, V, S, S, 3] in [0, 1] on white, in the order of SLOTS."""
  return trace(objects, size).rgb


@struct.dataclass
class Truth:
  """What `metrics.multiview` compares generated views of B objects with.

  pictures [B, V, S, S, 3]; hands [B, V, 2, S, S] bool: pixels within the left and the right hand;
  colors [B, 2] int32 into HANDS; with_hat and without_hat [B, V, S, S, 3]: the pictures of the
  object with and without its hat.
  """
  pictures: Array
  hands: Array
  colors: Array
  with_hat: Array
  without_hat: Array


def truth(objects):
  """The Truth of Objects."""
  image = trace(objects)
  other = render(objects.replace(hat=1 - objects.hat))
  worn = (objects.hat > 0)[:, None, None, None, None]
  hands = jnp.moveaxis(image.regions[..., np.array([parts.LEFT, parts.RIGHT])], -1, 2) == 1
  return Truth(image.rgb, hands, jnp.stack([objects.left, objects.right], -1),
               jnp.where(worn, image.rgb, other), jnp.where(worn, other, image.rgb))

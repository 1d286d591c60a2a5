"""Views that are inconsistent in a known way: what a measure of consistency has to see.

A corruption is a function (key, Objects of N, true views [N, V, S, S, 3] in [0, 1]) -> corrupted
views of that shape. Axes: N objects, V views in the order of `multiview.SLOTS`, S pixels per side.
"""

import jax
import jax.numpy as jnp

from jax3dgen.core import rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurines, multiview

DIFFERENCE, PIXELS = 0.1, 4  # a view is affected where so many pixels differ by more than that


def _other(key, index, count):
  """Random indices below `count` that differ from index [...]."""
  return (index + 1 + jax.random.randint(key, index.shape, 0, count - 1)) % count


def hands_swapped(key, objects):
  """The colours of both hands exchanged."""
  del key
  return objects.replace(left=objects.right, right=objects.left)


def hand_color(key, objects):
  """Another colour of one hand, which is not that of the other hand either."""
  count, which = len(multiview.HANDS), jax.random.bernoulli(rng.stream(key, 'side'), 0.5, (
      len(objects.left),))
  low, high = (f(objects.left, objects.right) for f in (jnp.minimum, jnp.maximum))
  new = jax.random.randint(rng.stream(key, 'color'), low.shape, 0, count - 2)
  new = new + (new >= low)
  new = new + (new >= high)  # neither of both
  return objects.replace(left=jnp.where(which, new, objects.left),
                         right=jnp.where(which, objects.right, new))


def color(key, objects):
  """Another colour of the body."""
  return objects.replace(color=_other(key, objects.color, len(figurines.COLORS)))


def hat(key, objects):
  """A hat that is there is removed, else one is added."""
  del key
  return objects.replace(hat=1 - objects.hat)


def proportions(key, objects):
  """Other scales along the axes."""
  low, high = multiview.SCALE
  return objects.replace(scale=jax.random.uniform(key, objects.scale.shape, minval=low,
                                                  maxval=high))


def other_object(key, objects):
  """Another of the N objects, of which there must be two or more."""
  index = _other(key, jnp.arange(len(objects.kind)), len(objects.kind))
  return jax.tree.map(lambda x: x[index], objects)


def second_face(key, objects, views):
  """The front view in place of the back view: a face on the back."""
  del key, objects
  front, back = (multiview.SLOTS.index(name) for name in ('front', 'back'))
  return views.at[:, back].set(views[:, front])


def wrong_view(key, objects, views):
  """In each slot the view of another slot of the same object."""
  del objects
  return jnp.take_along_axis(views, wrong_slots(key, len(views))[..., None, None, None], 1)


def wrong_slots(key, count):
  """Random slots [count, V], none of which is that of its place."""
  slots = jnp.tile(jnp.arange(len(multiview.SLOTS))[None], (count, 1))
  return _other(key, slots, len(multiview.SLOTS))


CHANGES = {  # of objects: (key, Objects) -> Objects
    'hands swapped': hands_swapped, 'hand color': hand_color, 'color': color, 'hat': hat,
    'proportions': proportions, 'other object': other_object}
REPLACEMENTS = {'second face': second_face, 'wrong view': wrong_view}  # of views
NAMES = (*CHANGES, *REPLACEMENTS)


def mixed(key, objects, names):
  """The Objects, each changed by a random one of `names` of CHANGES; a name may be repeated."""
  for name in names:
    if name not in CHANGES:
      raise ConfigError(f'{name!r} is no change of objects; there are {", ".join(CHANGES)}.')
  pick = jax.random.randint(rng.stream(key, 'change'), objects.kind.shape, 0, len(names))
  for name in dict.fromkeys(names):
    chosen = jnp.isin(pick, jnp.array([i for i, other in enumerate(names) if other == name]))
    changed = CHANGES[name](rng.stream(key, name), objects)
    objects = _where(chosen, changed, objects)
  return objects


def _where(chosen, new, old):
  """The Objects `new` where chosen [N], else `old`."""
  return jax.tree.map(lambda a, b: jnp.where(
      chosen.reshape((-1,) + (1,) * (a.ndim - 1)), a, b), new, old)


def affected(views, corrupted):
  """[N, V] bool: the views [N, V, S, S, 3] that a corruption changes visibly."""
  differs = jnp.abs(views - corrupted).max(-1) > DIFFERENCE
  return differs.sum((-1, -2)) >= PIXELS


_render = jax.jit(multiview.render)


def corrupt(name, key, objects, views=None, render=_render):
  """(corrupted views [N, V, S, S, 3], affected [N, V]) of a corruption of NAMES.

  `views` are the true ones where they are known; render: (Objects) -> views.
  """
  if name not in NAMES:
    raise ConfigError(f'{name!r} is no corruption; there are {", ".join(NAMES)}.')
  views = jnp.asarray(render(objects) if views is None else views)
  if name in CHANGES:
    corrupted = render(CHANGES[name](key, objects))
  else:
    corrupted = REPLACEMENTS[name](key, objects, views)
  return corrupted, affected(views, corrupted)

"""What a measure of consistency sees: held-out views of figurines, corrupted in known ways.

Axes: N objects, R samples of each, V views, S pixels per side.
"""

import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import image as pictures
from jax3dgen.core import parallel, rng
from jax3dgen.core import weights as weight_files
from jax3dgen.data import multiview as world
from jax3dgen.data import view_corruptions as corruptions
from jax3dgen.metrics import intervals
from jax3dgen.recipes.nets import multiview, ship

CHUNK = 20  # objects per compiled call
SHOWN = 'hand color, shown'  # the views whose reference shows the hand that changed


_render = jax.jit(world.render)


class Views(NamedTuple):
  """N objects (`world.Objects`): their true views [N, V, S, S, 3] in [0, 1], and the slots [N] of
  their references, front, right, back and left in turn."""
  objects: Any
  views: np.ndarray
  slot: np.ndarray

  @property
  def reference(self):
    """The reference pictures [N, S, S, 3]."""
    return world.at_slot(self.views, self.slot)


def draw(split, count, first=0):
  """The Views of `count` objects of a split."""
  objects = world.draw(split, count, first)
  return Views(objects, render(objects), world.reference_slots(count, first))


def render(objects):
  """Pictures [N, V, S, S, 3] of Objects, on the host."""
  return ship.in_chunks(_render, objects)


def corrupted(held):
  """{name: (views [N, V, S, S, 3], judged [N, V] bool)} of all corruptions of held-out Views.

  Judged are the affected views other than the reference's.
  """
  others, result = away(held), {}
  for name in corruptions.NAMES:
    key = rng.stream(jax.random.key(ship.HELD_OUT), name)
    views, affected = jax.device_get(corruptions.corrupt(name, key, held.objects, held.views,
                                                         render))
    result[name] = views, affected & others
    if name == 'hand color':
      shown = world.at_slot(affected, held.slot)
      result[SHOWN] = views, affected & others & shown[:, None]
  return result


def generated(prior, params, held, sampler, samples=1):
  """Views [N, R, V, S, S, 3] uint8 of a MultiviewPrior for the references of Views; `sampler` has
  the fields of config.sample of `recipes/nets/multiview`."""
  views = multiview.samples(prior, params, np.repeat(held.reference, samples, 0), sampler)
  return pictures.to_uint8(views).reshape(len(held.slot), samples, *views.shape[1:])


def stored(workdir, record, compute):
  """The arrays {name: [...]} of the file in the workdir that the list `record` identifies.

  Where it is missing, `compute` () makes them. record[0] is the beginning of the file's name.
  """
  digest = hashlib.sha256(json.dumps(record).encode()).hexdigest()[:12]
  path = pathlib.Path(workdir) / f'{record[0]}_{digest}.safetensors'
  parallel.from_main(lambda: None if path.is_file() else weight_files.save(path, compute()))
  return {name: np.array(x) for name, x in weight_files.Tensors(path).items()}


def away(held):
  """[N, V] bool: the views other than the references'."""
  return np.arange(held.views.shape[1])[None] != held.slot[:, None]


def scores(apply, params, held, views):
  """Scores [N, V] of views [N, V, S, S, 3] by the `apply` of `perception.consistency.load`."""
  of = lambda rows: apply(params, *rows)
  return ship.in_chunks(of, (held.reference, jnp.asarray(views), held.slot), CHUNK)


def order(true, other, judged):
  """{'auc', 'low', 'high', 'count'}: the share of the views `judged` [N, V] bool whose true picture
  has a higher score than the other one, both [N, V]; a tie is a half.

  It is the area under the ROC curve of one view, the mean over views; chance is .5. 95 % interval
  by the bootstrap over objects.
  """
  object_, view = np.nonzero(judged)
  a, b = true[object_, view], other[object_, view]
  higher = (a > b) + 0.5 * (a == b)
  value, low, high = intervals.bootstrap_mean(higher, object_)
  return {'auc': value, 'low': low, 'high': high, 'count': len(higher)}


def figures(score, held, cases):
  """{name: `order`} of `cases` {name: (views, judged)} by score (views) -> [N, V]."""
  true = score(held.views)
  return {name: order(true, score(views), judged) for name, (views, judged) in cases.items()}

"""What the loop runs on: a generator, its parameters, and three sets of images.

`build` makes it from a config; a caller may make one of its own, so that several runs share a base.
"""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import parallel, tree
from jax3dgen.core.errors import WeightError
from jax3dgen.data import object_splits, objects
from jax3dgen.generator import loading, pictures
from jax3dgen.recipes.preference import picture_folder, sample

SPLITS = ('pool', 'validation', 'test')
SPACING = 10_000  # seeds of objects between values of config.images.seed


class Images(NamedTuple):
  """I images of objects.

  cond: the generator's condition of each image, a tree of host arrays [I, ...]; object [I] int, the
  object that each shows; occupancy [I, R, R, R] bool, the true one; mesh (i) -> the true Mesh of
  image i. These two are None where the truth is unknown: figures of the shape are then NaN. picture
  (rows [n]) -> [n, H, W, 4], the images themselves, or None.
  """
  cond: Any
  object: np.ndarray
  occupancy: np.ndarray | None = None
  mesh: Callable | None = None
  picture: Callable | None = None


class Problem(NamedTuple):
  """generator: a `generator.base.Generator`; params: its 'flow' and 'decoder'; images that are
  tuned on (pool), that select a step (validation) and that evaluate (test)."""
  generator: Any
  params: Any
  pool: Images
  validation: Images
  test: Images


class Model(NamedTuple):
  """Parameters of the generator, and the digest of them that keys what is computed with them."""
  params: Any
  key: str


def base(problem):
  """The Model before any tuning."""
  return Model(problem.params, tree.digest(problem.params))


def tuned(model, adapters, scale):
  """The Model with adapters of its flow merged."""
  return Model(sample.merged(model.params, adapters, scale),
               f'{model.key} {scale} {tree.digest(adapters)}')


def images_digest(images):
  """sha256 of the conditions and the true occupancy of Images."""
  return tree.digest({'cond': images.cond, 'occupancy': images.occupancy})


def build(cfg):
  """The Problem of a config: pictures for its generator, those of config.images.folder (see
  `picture_folder`) or else of embedded objects that stand."""
  generator, params = loading.load(cfg.generator)
  if not {'flow', 'decoder'} <= params.keys():
    raise WeightError(f'{cfg.generator.weights} lacks the flow transformer or the decoder, which '
                      'preference tuning needs.')
  embed = parallel.split(lambda images, params: generator.embed(params, images), 1)
  placed = parallel.broadcast(params)
  logits = jax.eval_shape(generator.decode, params, jax.ShapeDtypeStruct(
      (1, *generator.shape), np.float32))

  def conditions(count, picture):
    """The conditions of `count` pictures; `picture` (rows [n]) -> [n, H, W, 4]. In batches of
    cfg.batch, which share one compilation."""
    conds = [embed(picture(np.arange(start, start + cfg.batch).clip(max=count - 1)), placed)
             for start in range(0, count, cfg.batch)]
    return jax.tree.map(lambda *x: np.concatenate(x)[:count], *conds)

  def images(split):
    if cfg.images.folder:
      paths, object_, mesh = picture_folder.read(cfg.images.folder, split, cfg.images[split])
      picture = lambda rows: np.stack([pictures.square(pictures.read(paths[i]), cfg.images.size)
                                       for i in rows])
      return Images(conditions(len(paths), picture), object_, None, mesh, picture)
    seeds = object_splits.standing(split, cfg.images[split], SPACING * cfg.images.seed,
                                   cfg.images.pool_kinds if split == 'pool' else ())
    items = objects.draw(seeds)
    picture = lambda rows: _with_alpha(*objects.picture(
        jax.tree.map(lambda x: x[rows], items), cfg.images.size))
    true = np.asarray(objects.logits(items, logits.shape[1]) > 0)
    mesh = functools.cache(functools.partial(objects.mesh, items))
    return Images(conditions(len(seeds), picture), np.asarray(seeds), true, mesh, picture)
  sets = [images(split) for split in SPLITS]
  return Problem(generator, {name: params[name] for name in ('flow', 'decoder')}, *sets)


def _with_alpha(rgb, opacity):
  """[B, H, W, 4] of rgb on white [B, H, W, 3] and opacity [B, H, W]: a generator has a background
  of its own."""
  alpha = opacity[..., None]
  color = jnp.clip((rgb - (1 - alpha)) / jnp.maximum(alpha, 1e-6), 0, 1)
  return jnp.concatenate([color, alpha], -1)

"""What the loop runs on: a multi-view prior, its parameters, and objects with their true views.

They are figurines, or a user's own, of which less may be known (`data/view_folder`).

Axes: I objects, V views, S pixels per side.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from jax3dgen.core import tree
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import multiview as world
from jax3dgen.data import view_folder
from jax3dgen.nn import lora
from jax3dgen.prior import multiview_loading
from jax3dgen.recipes.nets import ship

POOL, TEST = 'train', 'test'  # splits of data/multiview
FOLDERS = {POOL: 'pool', TEST: 'test'}  # of config.objects.folder


class Views(NamedTuple):
  """I objects: slot [I] int32, the view that is the reference, one of the four sides; reference [I,
  S, S, 3], the pictures of them, and images [I, V, S, S, 3], the true views, or None, in [0, 1];
  objects, the `data.multiview.Objects`, and truth, their `data.multiview.Truth`, or None where the
  objects are no figurines. Host arrays."""
  slot: np.ndarray
  reference: np.ndarray
  images: np.ndarray | None
  objects: Any = None
  truth: Any = None


class Problem(NamedTuple):
  """views: a `prior.multiview.MultiviewPrior`; params: its parameters; pool and test: Views."""
  views: Any
  params: Any
  pool: Views
  test: Views


class Model(NamedTuple):
  """Parameters of the prior, and the digest of them that keys what is computed with them."""
  params: Any
  key: str


def build(cfg, prior=None):
  """The Problem of a config; `prior` is a section in place of config.prior.

  ConfigError where what is to be computed needs true views and an object has none.
  """
  c = cfg.objects
  sets = [of_folder(c.folder, split, count, c.size) if c.folder else draw(split, count, c.first)
          for split, count in ((POOL, c.pool), (TEST, c.test))]
  check_truth(cfg, sets[0])
  views, params, _ = multiview_loading.load(prior or cfg.prior)
  return Problem(views, params, *sets)


def check_truth(cfg, pool):
  """ConfigError where the config needs true views of the pool and there are none."""
  needs = {'config.loss.name': cfg.loss.name if cfg.loss.name == 'sft' else '',
           'config.loss.simple': cfg.loss.simple if cfg.loss.name != 'mean' else 0,
           'config.score.by': cfg.score.by if (
               cfg.score.by == 'psnr' and cfg.loss.name in ('d3po', 'advantage')) else ''}
  for name, value in needs.items():
    if value and pool.images is None:
      raise ConfigError(f'{name}={value!r} needs true views of every object of '
                        f'{cfg.objects.folder}/{FOLDERS[POOL]}: folders with '
                        f'{", ".join(f"{slot}.png" for slot in world.SLOTS)}. Without them '
                        "config.score.by is 'metric' or 'matches', config.loss.simple is 0.")


def of_folder(folder, split, count, size):
  """Views of the first `count` objects of a folder (see `data/view_folder`)."""
  return Views(*view_folder.read(folder, FOLDERS[split], count, size))


def draw(split, count, first):
  """Views of `count` figurines of a split; the references are front, right, back, left in turn."""
  objects = world.draw(split, count, first)
  truth = ship.in_chunks(jax.jit(world.truth), objects)
  slot = world.reference_slots(count, first)
  return Views(slot, world.at_slot(truth.pictures, slot), truth.pictures, jax.device_get(objects),
               truth)


def base(problem):
  """The Model before any tuning."""
  return Model(problem.params, tree.digest(problem.params))


def tuned(model, adapters, scale):
  """The Model with adapters of its denoiser merged."""
  return Model(merged(model.params, adapters, scale),
               f'{model.key} {scale} {tree.digest(adapters)}')


def merged(params, adapters, scale):
  """The prior's parameters with adapters of the denoiser merged into it."""
  return params | {'denoiser': lora.merge(params['denoiser'], adapters, scale)}

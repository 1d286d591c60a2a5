"""What the loop runs on: a multi-view prior, its parameters, and objects with their true views.

Axes: I objects, V views, S pixels per side.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from jax3dgen.core import tree
from jax3dgen.data import multiview as world
from jax3dgen.nn import lora
from jax3dgen.prior import multiview
from jax3dgen.recipes.nets import ship

POOL, TEST = 'train', 'test'  # splits of data/multiview


class Views(NamedTuple):
  """I objects: slot [I] int32, the view that is the reference, one of the four sides; objects, the
  `data.multiview.Objects`; truth, their `data.multiview.Truth`. Host arrays."""
  slot: np.ndarray
  objects: Any
  truth: Any

  @property
  def images(self):
    """The true views [I, V, S, S, 3] in [0, 1]."""
    return self.truth.pictures

  @property
  def reference(self):
    """The reference pictures [I, S, S, 3]."""
    return world.at_slot(self.images, self.slot)


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


def build(cfg, weights=None):
  """The Problem of a config; `weights` is the folder of the base, by default config.prior.weights.
  """
  views, params, _ = multiview.load(weights or cfg.prior.weights)
  return Problem(views, params, draw(POOL, cfg.objects.pool, cfg.objects.first),
                 draw(TEST, cfg.objects.test, cfg.objects.first))


def draw(split, count, first):
  """Views of `count` figurines of a split; the references are front, right, back, left in turn."""
  objects = world.draw(split, count, first)
  truth = ship.in_chunks(jax.jit(world.truth), objects)
  return Views(world.reference_slots(count, first), jax.device_get(objects), truth)


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

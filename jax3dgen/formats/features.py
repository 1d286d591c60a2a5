"""Self-supervised image features: weights of vision transformers and the functions to apply them.

`load` reads the shipped network, trained on 32-pixel pictures of the embedded world
(`recipes/nets/features`), or a DINOv2 from a folder of its published weights (`dinov2`). The pose
classifier (`perception/pose`) compares class tokens and patch maps with those of templates. Axes: B
images, h and w rows and columns of patches, C channels.
"""

import dataclasses
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp

from jax3dgen.core import hub, image, weights
from jax3dgen.core.errors import WeightError
from jax3dgen.core.types import Array
from jax3dgen.formats import dinov2
from jax3dgen.nn import vit

SIZE = 32  # pixels per side of the input of the shipped network
MIDDLE, SPREAD = 0.5, 0.25  # its input is (image - MIDDLE) / SPREAD
SIZES = ('width', 'depth', 'heads', 'patch', 'grid')
LAYOUT = ('registers', 'gated', 'offset', 'remat')  # what may differ in other networks


class Features(NamedTuple):
  """The class token [B, C] and the patches [B, h, w, C] of images, after the last norm."""
  cls: Array
  patches: Array


@dataclasses.dataclass(frozen=True)
class Apply:
  """(params, images [B, H, W, 3] in [0, 1]) -> Features of a network; differentiable.

  Images are resized to `size` x `size` pixels unless that is 0, then (image - middle) / spread.
  Hashable, so that a jitted function may take one as a static argument.
  """
  net: Any
  middle: tuple
  spread: tuple
  size: int = 0

  def __call__(self, params, images):
    if self.size:
      images = image.resize(images, (self.size, self.size))
    middle, spread = (jnp.asarray(x, jnp.float32).reshape(1, 1, 1, 3)
                      for x in (self.middle, self.spread))
    return Features(*self.net.apply({'params': params}, (images - middle) / spread))


def small(net):
  """The Apply of a network with the input size and normalisation of the shipped one."""
  return Apply(net, 3 * (MIDDLE,), 3 * (SPREAD,), SIZE)


def describe(apply):
  """The record, plain JSON, by which `of` builds an Apply of float32 again."""
  net = {name: getattr(apply.net, name) for name in (*SIZES, *LAYOUT)}
  return {'net': net, 'middle': list(apply.middle), 'spread': list(apply.spread),
          'size': apply.size}


def of(record):
  """The Apply that `describe` describes. KeyError or TypeError for another record."""
  net = vit.ViT(**{name: record['net'][name] for name in (*SIZES, *LAYOUT)})
  return Apply(net, tuple(record['middle']), tuple(record['spread']), record['size'])


def folder():
  """The folder of the shipped network."""
  return Path(str(resources.files('jax3dgen') / 'assets' / 'features'))


def load(path=None, dtype=jnp.float32):
  """(apply, params) of the weights in the folder `path`; None: the shipped ones.

  A folder in the format of the shipped one has its sha256 checked. Others hold a DINOv2 (see
  `dinov2.read`), which ignores rows and columns of an image beyond a multiple of 14. WeightError
  for what cannot be read.
  """
  path = hub.resolve(path or folder())
  file = path / 'weights.safetensors'
  if file.is_file():
    weights.check_seal(path, (file.name, 'config.json'))
    return small(_net(path / 'config.json')), weights.load_tree(file)
  net, params = dinov2.read(path, dtype)
  return Apply(net, dinov2.MEAN, dinov2.SPREAD), params


def _net(config):
  try:
    return vit.ViT(**{name: int(size) for name, size in
                      hub.read_json(config)['net'].items() if name in SIZES})
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise WeightError(f'{config} has no sizes of the network '
                      f'({", ".join(SIZES)}).') from error

"""Features of 32-pixel pictures of the embedded world, by a small vision transformer.

The network (`nn/vit`, the architecture of DINOv2) was trained on figurines by self-supervision
alone (`train/features`): it was never told a pose, a kind or a colour. The pose classifier
(`perception/pose`) compares its class token and its map of patches with those of templates.
"""

from importlib import resources
import json
from pathlib import Path
from typing import Any

import chex
from flax import struct

from jax3dgen.core import image, weights
from jax3dgen.core.errors import WeightError
from jax3dgen.nn import vit

SIZE = 32  # pixels per side of what the network sees
MIDDLE, SPREAD = 0.5, 0.25  # its input is (image - MIDDLE) / SPREAD
SIZES = ('width', 'depth', 'heads', 'patch', 'grid')


@struct.dataclass
class Extractor:
  """A trained network: its parameters, and (static) the module that they belong to."""
  params: Any
  net: vit.ViT = struct.field(pytree_node=False)


def folder():
  """Where the shipped network lies."""
  return Path(str(resources.files('jax3dgen') / 'assets' / 'features'))


def load(path=None):
  """The Extractor in the folder `path` (None: the shipped one), its sha256 checked."""
  path = Path(path or folder())
  weights.check_seal(path, ('weights.safetensors', 'config.json'))
  try:
    net = vit.ViT(**{name: int(size) for name, size in
                     json.loads((path / 'config.json').read_text())['net'].items()
                     if name in SIZES})
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise WeightError(f'{path / "config.json"} does not say the sizes of the network '
                      f'({", ".join(SIZES)}).') from error
  return Extractor(weights.load(path / 'weights.safetensors'), net)


def features(extractor, images):
  """(class tokens [B, C], patches [B, h, w, C]) of images [B, H, W, 3] in [0, 1], H = W.

  Images of another size are resized to 32 px. It can be differentiated.
  """
  chex.assert_shape(images, (None, images.shape[1], images.shape[1], 3))
  images = image.resize(images, (SIZE, SIZE))
  return apply(extractor.net, extractor.params, images)


def apply(net, params, images):
  """`features` of images [B, 32, 32, 3] for a network that is still in training."""
  return net.apply({'params': params}, (images - MIDDLE) / SPREAD)

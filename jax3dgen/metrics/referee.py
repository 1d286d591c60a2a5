"""The embedded world's ground-truth judge: what a 32 px image shows, and from where.

It is used only to measure. It never sees a gradient of an objective, and no objective sees it: an
object that is optimised against its own judge can fool it. Axes: B images, K kinds, C colours.
"""

from importlib import resources
import json
from pathlib import Path
from typing import NamedTuple

import chex
from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core import image, weights
from jax3dgen.core.types import Array
from jax3dgen.nn import referee as net

REJECT = 'no figurine'


@struct.dataclass
class Judgement:
  """Probabilities: kind [B, K + 1] (the last is the reject class), color [B, C], sector [B, 8]
  (45 degree view sectors, counter-clockwise, sector 0 faces the front), face [B] (a face is in
  sight). Only `kind` means something for a rejected image."""
  kind: Array
  color: Array
  sector: Array
  face: Array


class Labels(NamedTuple):
  """The words behind the classes, and what a correct figurine measures.

  face_arc_deg: kind -> degrees of the circle over which this referee sees a correct figurine's
  face. face_share: a face counts as visible where it covers this share of the figurine's outline.
  """
  kinds: tuple
  colors: tuple
  reject: str
  face_arc_deg: dict
  face_share: float


def folder():
  """Where the shipped referee lies."""
  return Path(str(resources.files('jax3dgen') / 'assets' / 'referee'))


def labels(path=None):
  """The Labels of the referee in the folder `path` (None: the shipped one)."""
  path = Path(path or folder())
  weights.check_seal(path, ('labels.json',))
  words = json.loads((path / 'labels.json').read_text())
  return Labels(tuple(words['kinds']), tuple(words['colors']), words['reject'],
                dict(words['face_arc_deg']), words['face_share'])


def load(path=None):
  """Parameters of the referee in the folder `path` (None: the shipped one), its sha256 checked."""
  path = Path(path or folder())
  weights.check_seal(path, ('weights.safetensors',))
  return weights.load(path / 'weights.safetensors')


@jax.jit
def classify(params, images):
  """images [B, H, W, 3] in [0, 1], H = W -> Judgement; larger ones are resized to 32 px."""
  out = _look(params, images)
  return Judgement(jax.nn.softmax(out.kind), jax.nn.softmax(out.color),
                   net.sector_probabilities(out.azimuth), jax.nn.sigmoid(out.face))


@jax.jit
def features(params, images):
  """images [B, H, W, 3] as for `classify` -> what all its answers are read from, [B, D]."""
  return _look(params, images).hidden


def _look(params, images):
  chex.assert_shape(images, (None, images.shape[1], images.shape[1], 3))
  images = image.resize(images, (net.SIZE, net.SIZE))
  return net.of(params).apply({'params': params}, jnp.clip(images, 0.0, 1.0))

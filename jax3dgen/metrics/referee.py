"""The referee, the evaluation classifier of figurine images: kind, colour, view, face.

It is used only for evaluation, never in an objective: an object that is optimised against a
classifier can fool it. Axes: B images, K kinds, C colours.
"""

from importlib import resources
import json
from pathlib import Path
from typing import NamedTuple

import chex
from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core import hub, image, weights
from jax3dgen.core.types import Array
from jax3dgen.nn import referee as net

REJECT = 'no figurine'


@struct.dataclass
class Judgement:
  """Probabilities: kind [B, K + 1] (the last is the reject class), color [B, C], sector [B, 8]
  (45 degree view sectors, counter-clockwise, sector 0 faces the front), face [B]
  (a face is visible). For a rejected image only `kind` is defined."""
  kind: Array
  color: Array
  sector: Array
  face: Array


class Labels(NamedTuple):
  """The names of the classes, and reference values of correct figurines.

  face_arc_deg: kind -> degrees of the circle over which this referee detects the face of a correct
  figurine. face_share: a face counts as visible where it covers this share of the outline.
  """
  kinds: tuple
  colors: tuple
  reject: str
  face_arc_deg: dict
  face_share: float


def folder():
  """The folder of the shipped referee."""
  return Path(str(resources.files('jax3dgen') / 'assets' / 'referee'))


def labels(path=None):
  """The Labels of the referee in the folder `path` (None: the shipped one)."""
  path = hub.resolve(path or folder())
  weights.check_seal(path, ('labels.json',))
  words = json.loads((path / 'labels.json').read_text())
  return Labels(tuple(words['kinds']), tuple(words['colors']), words['reject'],
                dict(words['face_arc_deg']), words['face_share'])


def load(path=None):
  """Parameters of the referee in the folder `path` (None: the shipped one), its sha256 checked."""
  path = hub.resolve(path or folder())
  weights.check_seal(path, ('weights.safetensors',))
  return weights.load_tree(path / 'weights.safetensors')


@jax.jit
def classify(params, images):
  """images [B, H, W, 3] in [0, 1], H = W -> Judgement; larger ones are resized to 32 px."""
  out = _logits(params, images)
  return Judgement(jax.nn.softmax(out.kind), jax.nn.softmax(out.color),
                   net.sector_probabilities(out.azimuth), jax.nn.sigmoid(out.face))


@jax.jit
def features(params, images):
  """images [B, H, W, 3] as for `classify` -> its last features [B, D]."""
  return _logits(params, images).hidden


def _logits(params, images):
  chex.assert_shape(images, (None, images.shape[1], images.shape[1], 3))
  images = image.resize(images, (net.SIZE, net.SIZE))
  return net.of(params).apply({'params': params}, jnp.clip(images, 0.0, 1.0))

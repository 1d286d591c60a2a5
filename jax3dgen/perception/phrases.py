"""Zero-shot classification by texts of any attribute, in place of the pose (RecDreamer Fig. 15).

Class probabilities are a softmax of the cosines between an image and the texts of the classes.
"""

from typing import Any

import chex
from flax import struct
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Array
from jax3dgen.perception import text_image

SEPARATOR = '|'


@struct.dataclass
class Phrases:
  """The text-image model's parameters, unit vectors [K, D] of the texts, and (static) its sizes."""
  params: Any
  texts: Array
  net: FrozenConfigDict = struct.field(pytree_node=False)


def load(prompt, cfg, attention=None):
  """The classifier of the texts in cfg.templates, as 'a bear with a hat|a bear'.

  ConfigError where there are fewer than two, or a word is not in the vocabulary. `attention` is not
  used.
  """
  lines = [line.strip() for line in cfg.templates.split(SEPARATOR) if line.strip()]
  if len(lines) < 2:
    raise ConfigError(f'config.distill.templates={cfg.templates!r} must be two or more texts '
                      f'with {SEPARATOR} between them.')
  net, words, params = text_image.read()
  texts = text_image.model(net, words, params).texts(lines)
  return Phrases(params, jnp.asarray(texts), FrozenConfigDict(net))


def classify(arrays, images, t, cfg):
  """p(text | image) [B, K] of images [B, H, W, 3] in [0, 1]: a softmax of cosines over
  cfg.temperature. The noise level t is not used."""
  chex.assert_shape(images, (None, None, None, 3))
  embedding = text_image.embed_images(arrays.net, arrays.params, images)
  return jax.nn.softmax(embedding @ arrays.texts.T / cfg.temperature)

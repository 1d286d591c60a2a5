"""Text-image models: the Model record, and the shipped contrastive model of the embedded world.

Metrics that use CLIP take a `Model`: the shipped one, or CLIP itself (`perception/clip`). Objects
that were distilled with the shipped one (`perception/phrases`) must not be evaluated by it. Axes: B
images, N texts, D embedding.
"""

from collections.abc import Callable
import importlib.resources
import json
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import hub, rng
from jax3dgen.core import image as pictures
from jax3dgen.core import weights as weight_files
from jax3dgen.core.errors import WeightError
from jax3dgen.nn import text_image as nets
from jax3dgen.prior import words as vocabulary

BESIDE = ('config.json', 'words.json')
NAME = 'embedded text-image model'


class Model(NamedTuple):
  """A text-image model: `name` in reports; images(array [B, H, W, 3] in [0, 1]) -> [B, D] and
  texts(list of N strings) -> [N, D] of unit length; `scale`, by which cosines become logits."""
  name: str
  images: Callable
  texts: Callable
  scale: float


def network(config):
  """(init, images, texts) of the encoders with the sizes in `config` (the dict of config.json).

  init(key) -> params; images(params, [B, S, S, 3]) and texts(params, ids [N, L]) -> unit vectors.
  """
  image = nets.ImageTower(tuple(config['widths']), config['embedding'])
  text = nets.TextTower(**config['text'], embedding=config['embedding'])

  def init(key):
    pixels = jnp.zeros((2, nets.SIZE, nets.SIZE, 3))
    ids = jnp.zeros((2, config['text']['length']), jnp.int32)
    return {'image': image.init(rng.stream(key, 'image'), pixels)['params'],
            'text': text.init(rng.stream(key, 'text'), ids)['params'],
            'log_scale': jnp.asarray(np.log(10.0), jnp.float32)}

  return (init, lambda params, x: image.apply({'params': params['image']}, x),
          lambda params, ids: text.apply({'params': params['text']}, ids))


def shipped():
  """The folder of the shipped weights."""
  return pathlib.Path(str(importlib.resources.files('jax3dgen') / 'assets' / 'text_image'))


def load(folder=None):
  """The Model of a folder of weights (see `read`). Its `texts` raises ConfigError where a word is
  unknown."""
  return model(*read(folder))


def read(folder=None):
  """(network config, words, params) of a folder of weights; None or '' is the shipped one.

  WeightError where the folder is incomplete, damaged or of another network.
  """
  path = hub.resolve(folder or shipped())
  weight_files.check_seal(path, ('weights.safetensors', *BESIDE))
  try:
    config, words = (json.loads((path / name).read_text()) for name in BESIDE)
    if len(words) != config['net']['text']['words']:
      raise ValueError('words.json is of another vocabulary')
    target = jax.eval_shape(network(config['net'])[0], jax.random.key(0))
  except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
    raise WeightError(f'{path / "config.json"} does not describe this network '
                      f'({str(error).splitlines()[0]}).') from error
  return config['net'], words, weight_files.load_tree(path / 'weights.safetensors', target)


def embed_images(config, params, x):
  """Unit vectors [B, D] of images [B, H, W, 3] in [0, 1]; differentiable."""
  small = pictures.resize(x, (nets.SIZE, nets.SIZE))
  return network(config)[1](params, jnp.clip(small, 0.0, 1.0))


def model(config, words, params):
  """The Model of the encoders of `config` with `params`; `words` is their vocabulary."""
  images = jax.jit(lambda x: embed_images(config, params, x))
  texts = jax.jit(lambda ids: network(config)[2](params, ids))
  length = config['text']['length']
  return Model(NAME, lambda x: images(jnp.asarray(x, jnp.float32)),
               lambda lines: texts(vocabulary.tokenize(lines, words, length)),
               float(np.exp(params['log_scale'])))

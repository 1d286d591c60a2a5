"""The shipped prior: a text-to-image model of 32x32 figurines.

Images in [0, 1] are x_0 = 2 image - 1 directly (no latent space). The network predicts v.
`params` is {'denoiser': ..., 'text': ...}. A folder of weights holds weights.safetensors,
config.json (the network's sizes), words.json (the closed vocabulary) and sha256.
"""

import importlib.resources
import json
import pathlib

import jax
import jax.numpy as jnp

from jax3dgen.core import hub, rng
from jax3dgen.core import image as images
from jax3dgen.core import weights as weight_files
from jax3dgen.core.errors import WeightError
from jax3dgen.core.types import Cond
from jax3dgen.nn import caption, unet_small
from jax3dgen.prior import base, schedule
from jax3dgen.prior import words as vocabulary

SCHEDULE = schedule.COSINE
BESIDE = ('config.json', 'words.json')  # files that the weights need


def network(config):
  """(init, embed, velocity) of the nets with the sizes in `config` (the dict of config.json).

  init(key) -> params; embed(params, ids [B, L] int32) -> Cond; velocity(params, x_t [B, h, w, 3],
  t [B], cond) -> v [B, h, w, 3].
  """
  text = caption.CaptionEncoder(**config['text'])
  denoiser = unet_small.UNetSmall(**config['denoiser'] | {
      'channels': tuple(config['denoiser']['channels'])})

  def init(key):
    ids = jnp.zeros((1, config['text']['length']), jnp.int32)
    size = config['size']
    text_params = text.init(rng.stream(key, 'text'), ids)['params']
    tokens, pooled = text.apply({'params': text_params}, ids)
    denoiser_params = denoiser.init(rng.stream(key, 'denoiser'), jnp.zeros((1, size, size, 3)),
                                    jnp.zeros((1,)), tokens, pooled)['params']
    return {'denoiser': denoiser_params, 'text': text_params}

  def embed(params, ids):
    return Cond(*text.apply({'params': params['text']}, ids))

  def velocity(params, x_t, t, cond):
    return denoiser.apply({'params': params['denoiser']}, x_t, t, cond.tokens, cond.extra)

  return init, embed, velocity


def make(config):
  """The Prior of the nets that `config` describes, without weights."""
  init, embed, velocity = network(config)
  size = config['size']
  return base.Prior(
      init=init,
      embed=embed,
      predict=base.as_eps(velocity, SCHEDULE, 'v'),
      encode=lambda params, image: 2.0 * images.resize(image, (size, size)) - 1.0,
      decode=lambda params, x0: 0.5 * (x0 + 1.0),
      schedule=SCHEDULE)


def load(weights=None):
  """(prior, params, tokenize) of a folder of weights; None or '' is the shipped one.

  tokenize(list of B strings) -> ids [B, L] int32; '' is the null caption. ConfigError where a word
  is unknown, WeightError where the folder is incomplete, damaged or of another network.
  """
  config, words, params = read(weights)
  length = config['text']['length']
  return make(config), params, lambda texts: vocabulary.tokenize(texts, words, length)


def read(weights=None):
  """(network config, words, params) of a folder of weights, or of a weights file inside one."""
  path = hub.resolve(weights or shipped())
  if path.is_dir():
    path = path / 'weights.safetensors'
  weight_files.refuse_foreign(path)
  weight_files.check_seal(path.parent, (path.name, *BESIDE))
  try:
    config, words = (json.loads(path.with_name(name).read_text()) for name in BESIDE)
    if len(words) != config['text']['words']:
      raise ValueError(f'it is for {config["text"]["words"]} words, words.json has {len(words)}')
    target = jax.eval_shape(network(config)[0], jax.random.key(0))
  except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
    raise WeightError(f'{path.with_name("config.json")} does not describe this network '
                      f'({str(error).splitlines()[0]}).') from error
  return config, words, weight_files.load_tree(path, target)


def shipped():
  """The folder of the shipped weights."""
  return pathlib.Path(str(importlib.resources.files('jax3dgen') / 'assets' / 'embedded_prior'))


"""Five views of an object from one picture of it: the embedded prior with reference attention.

A Prior of B = N V rows, the V views of N objects in the order of objects. Its condition holds the
reference x_0 and the noise that is added to it, so that a prediction is a function of its
arguments; the reference has the noise level `share` t. A prediction is two passes: `write`, over
the noised references, and `read`, over the views; where noise and t are stored, so may be what
`write` returns.

A folder of weights holds the trained leaves only; the others are those of the embedded prior, whose
digest is in config.json. Axes: N references, H and W pixels, h and w rows and columns of x_0.
"""

from collections.abc import Callable
import functools
import importlib.resources
import pathlib
from typing import NamedTuple

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import hub, rng, tree
from jax3dgen.core import weights as weight_files
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.core.types import Array, Cond
from jax3dgen.nn import unet_multiview
from jax3dgen.prior import base, embedded, sampler, schedule
from jax3dgen.prior import words as vocabulary

SCHEDULE = schedule.COSINE
# Captions of the views (front, right, back, left, top), and of the reference.
CAPTIONS = ('front view', 'side view', 'back view', 'side view', 'from above', '')
VIEWS = len(CAPTIONS) - 1
OBJECT = 16 / 255  # smallest difference of a channel between an object and its background
WEIGHTS, BESIDE = 'weights.safetensors', ('config.json',)


@struct.dataclass
class MultiviewCond:
  """The condition of N V views; every leaf has these rows.

  view: Cond of the captions of the views; reference: Cond of the caption of the reference; picture
  [N V, h, w, c]: x_0 of the reference, noise [N V, h, w, c]: its noise, equal in all views of an
  object; keep [N V] bool: whether the views attend to the reference.
  """
  view: Cond
  reference: Cond
  picture: Array
  noise: Array
  keep: Array


class MultiviewPrior(NamedTuple):
  """The functions of `base.Prior`, and those of its two passes.

  embed (params, images [N, H, W, 3]) is `condition` with one fixed noise. condition (params,
  picture [N, h, w, c], noise [N, h, w, c]) -> MultiviewCond of N V rows, for x_0 of the references
  and their noise. write (params, cond, t [N V]) ->
  memory, a pytree with the leading axis N; read (params, x_t [N V, h, w, c], t, cond, memory) ->
  eps. predict is read of write. clip: the bound of the entries of x_0, to which samplers clip clean
  estimates; None where there is none.
  """
  init: Callable
  embed: Callable
  predict: Callable
  encode: Callable
  decode: Callable
  schedule: base.Schedule
  condition: Callable
  write: Callable
  read: Callable
  clip: float | None = None
  attention: Callable | None = None


def network(config):
  """(init, velocity, write) of the net that `config` (the dict of config.json) describes.

  init(key) -> params {'denoiser', 'text'}; velocity(params, x_t, t, cond, memory) -> v.
  """
  sizes = config['denoiser'] | {'channels': tuple(config['denoiser']['channels'])}
  denoiser = unet_multiview.MultiviewUNet(**sizes, views=VIEWS, joint=tuple(config['joint']))
  plain = embedded.make(config)

  def init(key):
    text = plain.init(key)['text']
    cond = plain.embed({'text': text}, jnp.zeros((1, config['text']['length']), jnp.int32))
    image = jnp.zeros((1, config['size'], config['size'], 3))
    params = denoiser.init(rng.stream(key, 'denoiser'), image, jnp.zeros((1,)), cond.tokens,
                           cond.extra)['params']
    return {'denoiser': params, 'text': text}

  def write(params, cond, t):
    rows, y_t, t = noised_references(SCHEDULE, config['share'], cond, t)
    return denoiser.apply({'params': params['denoiser']}, y_t, t, rows.reference.tokens,
                          rows.reference.extra)

  def velocity(params, x_t, t, cond, memory):
    return denoiser.apply({'params': params['denoiser']}, x_t, t, cond.view.tokens,
                          cond.view.extra, memory, cond.keep[::VIEWS])
  return init, velocity, write


def make(config, words):
  """The MultiviewPrior of the net that `config` describes, without weights."""
  init, velocity, write = network(config)
  plain = embedded.make(config)
  ids = vocabulary.tokenize(CAPTIONS, words, config['text']['length'])

  condition = lambda params, picture, noise: spread(plain.embed(params, ids), picture, noise)
  return of_passes(init, plain, 'v', condition, velocity, write, clip=1.0)


def of_passes(init, plain, output, condition, velocity, write, clip=None):
  """The MultiviewPrior of two passes and a condition, which predicts `output` of `base.TO_EPS`.

  plain: the `base.Prior` of single pictures, of which encode, decode and schedule are those of the
  views; velocity (params, x_t, t, cond, memory): the pass over the views.
  """
  def embed(params, images):
    picture = plain.encode(params, images)
    return condition(params, picture, jax.random.normal(jax.random.key(0), picture.shape))

  read = lambda params, x_t, t, cond, memory: base.as_eps(
      lambda *args: velocity(*args, memory), plain.schedule, output)(params, x_t, t, cond)
  predict = lambda params, x_t, t, cond: read(params, x_t, t, cond, write(params, cond, t))
  return MultiviewPrior(init, embed, predict, plain.encode, plain.decode, plain.schedule, condition,
                        write, read, clip)


def spread(captions, picture, noise):
  """The MultiviewCond of N V rows of a Cond of V + 1 captions, those of CAPTIONS, and of x_0 of the
  references and their noise, both [N, h, w, c]."""
  count, each = len(picture), functools.partial(jnp.repeat, repeats=VIEWS, axis=0)
  return MultiviewCond(
      jax.tree.map(lambda x: jnp.tile(x[:-1], (count,) + (1,) * (x.ndim - 1)), captions),
      jax.tree.map(lambda x: jnp.repeat(x[-1:], count * VIEWS, 0), captions),
      each(picture), each(noise), jnp.ones(count * VIEWS, bool))


def noised_references(schedule, share, cond, t):
  """(rows of the condition [N], y_t [N, h, w, c], its level [N]): the references at `share` t."""
  rows, level = jax.tree.map(lambda x: x[::VIEWS], (cond, share * t))
  return rows, base.add_noise(schedule, rows.picture, level, rows.noise), level


def without_reference(cond):
  """The null condition: no view attends to its reference."""
  return cond.replace(keep=jnp.zeros_like(cond.keep))


def with_noise(cond, noise):
  """The condition with other noise [N, h, w, c] of the references."""
  return cond.replace(noise=jnp.repeat(noise, VIEWS, 0))


def predict_guided(prior, params, x_t, t, cond, scale, memory=None):
  """eps [N V, ...] under guidance `scale` toward the reference (1: none, one row a view).

  One pass over the references, unless their `memory` is given, and one over the views of both
  branches.
  """
  memory = prior.write(params, cond, t) if memory is None else memory
  if isinstance(scale, (int, float)) and scale == 1:
    return prior.read(params, x_t, t, cond, memory)
  both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]),
                      (x_t, t, without_reference(cond), memory), (x_t, t, cond, memory))
  return base.guide(*jnp.split(prior.read(params, *both), 2), scale)


def sample(key, prior, params, cond, steps, guidance=1.0, eta=1.0):
  """x_0 [N V, h, w, c] of all views by `sampler.ddim_of`.

  As in training, the references get other noise at every step; that of `cond` is not used.
  """
  def predict(x_t, t, key):
    noise = jax.random.normal(key, (len(x_t) // VIEWS, *x_t.shape[1:]))
    return predict_guided(prior, params, x_t, t, with_noise(cond, noise), guidance)
  return sampler.ddim_of(key, prior.schedule, predict, cond.picture.shape, steps, eta, prior.clip)


def pixels(prior, params):
  """Pixels per side of the prior's views."""
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  return jax.eval_shape(lambda params, x: prior.decode(params, prior.encode(params, x)), params,
                        image).shape[1]


def check_references(images):
  """References [N, H, H, 3], uint8 or floating in [0, 1], as float32.

  ConfigError for arrays of another shape or kind, other values, and pictures of one colour only.
  """
  images = np.asarray(images)
  if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3 or not (
      images.size):
    raise ConfigError('References are square RGB pictures [N, H, H, 3], not an array '
                      f'{list(images.shape)}.')
  if images.dtype == np.uint8:
    images = images / np.float32(255)
  if not np.issubdtype(images.dtype, np.floating):
    raise ConfigError(f'References are uint8 or floating, not {images.dtype}.')
  if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
    raise ConfigError('References have values in [0, 1]; these have others, or some that are not '
                      'finite.')
  flat = images.reshape(len(images), -1, 3)
  empty = np.flatnonzero((flat.max(1) - flat.min(1)).max(-1) < OBJECT)
  if empty.size:
    raise ConfigError(f'Reference {empty[0]} shows no object: all of it has the colour of its '
                      'background.')
  return images.astype(np.float32)


def load(weights=None, prior=None):
  """(MultiviewPrior, params, condition) of a folder of weights; None or '' is the shipped one.

  `prior` is the folder of the embedded prior that it was trained from (None or '': the shipped
  one). WeightError where the folder is incomplete, damaged, of another net or of another prior.
  """
  path = hub.resolve(weights or shipped())
  weight_files.check_seal(path, (WEIGHTS, *BESIDE))
  config = hub.read_json(path / 'config.json').get('net')
  _, words, params = start(prior)
  try:
    multiview, frozen = make(config, words), config['frozen']
    target = jax.eval_shape(multiview.init, jax.random.key(0))
    expected = config['prior']
  except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
    raise WeightError(f'{path / "config.json"} does not describe this network '
                      f'({str(error).splitlines()[0]}).') from error
  if expected != digest(prior):
    raise WeightError(f'{path} was trained from another embedded prior (sha256 {expected[:12]}) '
                      f'than the one that is there ({digest(prior)[:12]}).')
  trained = weight_files.load_tree(path / WEIGHTS, tree.partition(target, frozen)[1])
  return multiview, tree.join(tree.partition(params, frozen)[0], trained), multiview.condition


def start(prior=None):
  """(sizes, words, params) of the embedded prior, by which training begins; see `load`."""
  return embedded.read(prior)


def digest(prior=None):
  """The sha256 of the weights of the embedded prior."""
  return weight_files.digest(hub.resolve(prior or embedded.shipped()) / WEIGHTS)


def shipped():
  """The folder of the shipped weights."""
  return pathlib.Path(str(importlib.resources.files('jax3dgen') / 'assets' / 'multiview'))

"""The embedded multi-view prior: five views of a figurine from one picture (L_simple-MV).

It begins with the weights of the embedded prior, some of which stay as they are. Pictures of all
objects are rendered once and kept in the workdir. Axes: N objects, V views.
"""

import hashlib
import json
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import parallel, tree
from jax3dgen.core import image as images
from jax3dgen.core import weights as weight_files
from jax3dgen.data import multiview as world
from jax3dgen.feedback import multiview as sft
from jax3dgen.prior import multiview
from jax3dgen.recipes.nets import prior as prior_recipe
from jax3dgen.recipes.nets import ship


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'multiview'
  c.prior = ''  # a folder of weights of the embedded prior; '': the shipped one

  c.net = ConfigDict()
  c.net.joint = (1, 2)  # levels whose self-attention covers all views of an object
  c.net.share = 0.4  # noise level of the reference, in units of that of the views
  # The leaves that keep the prior's values, a regular expression of their names.
  c.net.frozen = '^text/|/cross/|(middle|encode_2)_res/conv_(in|out)/kernel'

  c.data = ConfigDict()
  c.data.count = 4000  # objects of the split 'train'

  c.loss = ConfigDict()
  c.loss.dropout = 0.1  # share of the objects without a reference, for guidance

  c.optim.rate = 1e-3
  c.optim.ema = 0.995
  c.optim.decay = 0.6  # share of all steps, at the end, over which the rate falls to 0

  c.train.steps = 3000
  c.train.batch = 8  # objects per step, over all devices together

  c.sample = ConfigDict()
  c.sample.steps = 20  # DDIM steps of the measured samples
  c.sample.guidance = 1.0  # their guidance toward the reference
  c.sample.eta = 1.0  # their noise: 1 ancestral, 0 none

  c.test = ConfigDict()
  c.test.objects = 200  # objects of the split 'test'
  return c.lock()


def net_config(cfg):
  """(what `prior.multiview.make` needs of config.json, words, params of the embedded prior)."""
  sizes, words, params = multiview.start(cfg.prior)
  return sizes | {'joint': list(cfg.net.joint), 'share': cfg.net.share, 'frozen': cfg.net.frozen,
                  'prior': multiview.digest(cfg.prior)}, words, params


def build(cfg):
  """(MultiviewPrior, frozen params) of the config."""
  sizes, words, params = net_config(cfg)
  return multiview.make(sizes, words), tree.partition(params, cfg.net.frozen)[0]


def init(cfg):
  """The trained parameters before training: the prior's, and zeros for the tables of the views."""
  sizes, words, params = net_config(cfg)
  new = jax.jit(multiview.make(sizes, words).init)(jax.random.key(cfg.seed))
  return tree.partition(tree.join(new, params), cfg.net.frozen)[1]


def data(cfg, workdir):
  """{'pictures' [N, V, S, S, 3] uint8, 'frozen'}; the pictures from the workdir if they lie there.
  """
  record = hashlib.sha256(json.dumps([cfg.data.count, world.HAND, world.HAND_RGB.tolist()]).encode()).hexdigest()[:12]
  path = pathlib.Path(workdir) / f'pictures_{record}.safetensors'

  def render():
    if not path.is_file():
      print(f'Rendering {cfg.data.count:,} objects.', flush=True)
      weight_files.save(path, {'pictures': pictures('train', cfg.data.count)})
  parallel.from_main(render)
  return {'pictures': np.array(weight_files.Tensors(path)['pictures']), 'frozen': build(cfg)[1]}


def pictures(split, count):
  """The pictures [N, V, S, S, 3] uint8 of the first `count` objects of a split."""
  render = jax.jit(world.render)
  return ship.in_chunks(lambda rows: images.to_uint8(render(rows)), world.draw(split, count))


def loss(cfg, count, axis_name=None):
  """The loss of random objects on one of `count` devices (see `ship.Net`)."""
  prior, batch = build(cfg)[0], cfg.train.batch // count

  def of_objects(params, key, everything):
    rows = jax.random.randint(jax.random.fold_in(key, 0), (batch,), 0, cfg.data.count)
    batch_of = everything['pictures'][rows].astype(jnp.float32) / 255
    whole = tree.join(everything['frozen'], params)
    return sft.loss(prior, whole, key, batch_of, cfg.loss.dropout), {}
  return of_objects


def measure(params, cfg):
  return {}


def card(result):
  return 'pilot'


NET = ship.Net('multi-view prior', default_config, init, loss, measure, card,
               prior_recipe.optimiser, data=data)

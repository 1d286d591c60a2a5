"""The metric of 3D consistency: true views against inconsistent ones of the same references.

Objects are drawn and rendered inside the step. Views of a multi-view prior, if they are among the
negatives, are sampled once and kept in the workdir. Axes: B objects of this device, V views, S
pixels per side, SIDES views that serve as references.
"""

import hashlib
import json
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from jax3dgen.core import image as pictures
from jax3dgen.core import parallel, rng, tree
from jax3dgen.core import weights as weight_files
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import multiview as world
from jax3dgen.data import view_corruptions as corruptions
from jax3dgen.formats import features
from jax3dgen.perception import consistency
from jax3dgen.prior import multiview
from jax3dgen.recipes.nets import ship

SIDES = consistency.SIDES


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'consistency'
  c.weights = ''  # the folder of a trained metric, for runs that only apply it; '': the shipped one

  c.prior = ConfigDict()
  c.prior.weights = ''  # the multi-view prior that makes the generated negatives; '': the shipped

  c.net = ConfigDict()
  c.net.features = ''  # features by which training begins, a folder; '': the shipped ones
  c.net.head = 'pair'  # pair, or a linear one: concat (the paper's), product, difference, ...
  c.net.parts = 8  # of the pair head: parts of a view
  c.net.width = 24  # features of a part
  c.net.hidden = 128  # width of its MLP

  c.negatives = ConfigDict()  # shares of the kinds of negatives in the loss; their sum is 1
  c.negatives.generated = 0.25  # views of the prior
  c.negatives.corrupted = 0.5  # views of the object after a change
  c.negatives.object = 0.1  # views of another object
  c.negatives.view = 0.15  # another view of the object
  # Changes of `data/view_corruptions`; one that is repeated is drawn more often.
  c.negatives.changes = ('hands swapped', 'hands swapped', 'hand color', 'hand color', 'color',
                         'hat', 'proportions')

  c.generated = ConfigDict()
  c.generated.count = 400  # objects of the split 'train' whose views are sampled
  c.generated.first = 6000  # the first of them: those before it trained the prior
  c.generated.steps = 20  # DDIM steps

  c.optim.rate = 1e-3  # Adam's largest learning rate
  c.optim.encoder = 0.5  # that of the encoder, in units of it
  c.optim.ema = 0.995

  c.train.steps = 1000
  c.train.batch = 16  # objects per step, over all devices together

  c.test = ConfigDict()
  c.test.objects = 150  # objects of the split 'validation'
  return c.lock()


def build(cfg):
  """(consistency.Model, the encoder's Apply, its parameters before training)."""
  encoder, params = features.load(cfg.net.features or None)
  sizes = {name: cfg.net[name] for name in ('parts', 'width', 'hidden')}
  return consistency.make(cfg.net.head, encoder, **sizes), encoder, params


def init(cfg):
  """The parameters before training: the features as they are, a new head."""
  model, _, params = build(cfg)
  return jax.jit(model.init)(jax.random.key(cfg.seed), params)


def objective(model, params, key, true, bad, changed, slot, shares):
  """(loss [], its terms) of true and inconsistent views [B, V, S, S, 3] of the same objects.

  changed [B] bool: whether `bad` are the true views of a changed object, which are positives among
  themselves, or were generated from the reference in slot [B]. All sides are references of all
  other views. loss = mean over positives (f - 1)^2 + sum of share x mean over negatives f^2.
  """
  count, each = true.shape[:2]
  own = jnp.tile(jnp.arange(each)[None], (count, 1))
  encoded = jax.tree.map(lambda x: x.reshape(2, count, each, *x.shape[1:]), model.encode(
      params, jnp.stack([true, bad]).reshape(-1, *true.shape[2:])))
  flat = lambda x: jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), x)
  embed = lambda x: model.embed(params, flat(x), own.ravel()).reshape(count, each, -1)
  row = jnp.arange(count)[:, None]
  t, b = (embed(jax.tree.map(lambda x, i=i: x[i], encoded)) for i in range(2))
  turned = embed(jax.tree.map(lambda x: x[0][row, corruptions.wrong_slots(key, count)], encoded))

  slots_y, slots_x = jnp.arange(SIDES)[None, :, None], jnp.arange(each)[None, None]
  shape = (count, SIDES, each)
  broad = lambda x: jnp.broadcast_to(x, shape + x.shape[3:])
  pair = lambda y, x: model.pair(params, broad(y[:, :SIDES, None]), broad(x[:, None]),
                                 broad(slots_y), broad(slots_x))
  away = slots_y != slots_x
  of_change = changed[:, None, None]
  visible = away & corruptions.affected(true, bad)[:, None]
  generated = away & ~of_change & (slots_x != slot[:, None, None])

  def mean(*parts):
    parts = [(x, broad(mask).astype(jnp.float32)) for x, mask in parts]
    total = sum((x * mask).sum() for x, mask in parts)
    return total / jnp.maximum(sum(mask.sum() for _, mask in parts), 1.0)
  forth = jnp.square(pair(t, b))
  terms = {
      'true': mean((jnp.square(pair(t, t) - 1), away), (jnp.square(pair(b, b) - 1),
                                                        away & of_change)),
      'generated': mean((forth, generated)),
      'corrupted': mean((forth, visible & of_change), (jnp.square(pair(b, t)),
                                                       visible & of_change)),
      'object': mean((jnp.square(pair(t, jnp.roll(t, 1, 0))), away)),
      'view': mean((jnp.square(pair(t, turned)), away))}
  return terms['true'] + sum(shares[name] * terms[name] for name in shares), terms


def rows(shares, batch):
  """The number of `batch` objects whose inconsistent views are generated; the others are changed.
  """
  of_change = shares.generated + shares.corrupted
  return round(batch * shares.generated / of_change) if of_change else 0


def shares_of(cfg):
  """{name: share} of config.negatives; ConfigError unless they are shares whose sum is 1."""
  shares = {name: cfg.negatives[name] for name in ('generated', 'corrupted', 'object', 'view')}
  if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
    raise ConfigError(f'config.negatives: the shares {shares} must be 0 or more, and their sum 1.')
  return shares


def loss(cfg, count, axis_name=None):
  """The loss of random objects on one of `count` devices (see `ship.Net`)."""
  model, batch, shares = build(cfg)[0], cfg.train.batch // count, shares_of(cfg)
  made = rows(cfg.negatives, batch)

  def of_objects(params, key, everything):
    first = jax.random.randint(rng.stream(key, 'objects'), (), 0, 2**30)
    objects = world.draw('train', batch, first)
    other = corruptions.mixed(rng.stream(key, 'changes'), objects, cfg.negatives.changes)
    true, bad = world.render(objects), world.render(other)
    slot = jnp.zeros(batch, jnp.int32)
    if made:
      index = jax.random.randint(rng.stream(key, 'generated'), (made,), 0, len(everything['slot']))
      put = lambda x, name: x.at[:made].set(everything[name][index].astype(jnp.float32) / 255)
      true, bad = put(true, 'true'), put(bad, 'generated')
      slot = slot.at[:made].set(everything['slot'][index])
    return objective(model, params, rng.stream(key, 'views'), true, bad,
                     jnp.arange(batch) >= made, slot, shares)
  return of_objects


def optimiser(cfg):
  """Adam with two learning rates, that of the encoder config.optim.encoder times the other."""
  schedule = ship.learning_rate(cfg)
  of = {'new': optax.adam(schedule, b2=cfg.optim.b2),
        'encoder': optax.adam(lambda step: cfg.optim.encoder * schedule(step), b2=cfg.optim.b2)}
  label = lambda params: {name: jax.tree.map(lambda _, name=name: (
      'encoder' if name == 'encoder' else 'new'), part) for name, part in params.items()}
  return optax.chain(optax.clip_by_global_norm(cfg.optim.clip), optax.multi_transform(of, label))


def data(cfg, workdir):
  """{'true', 'generated' [N, V, S, S, 3] uint8, 'slot' [N]}; {} without generated negatives."""
  if not cfg.negatives.generated:
    return {}
  return {}


def measure(params, cfg):
  """{corruption: share} of the affected views whose true picture has the higher score."""
  return {}


def card(result):
  return 'pilot'


NET = ship.Net('consistency metric', default_config, init, loss, measure, card, optimiser,
               data=data)

"""The metric of 3D consistency: true views against inconsistent ones of the same references.

Pictures of objects before and after a change, and views of a multi-view prior, are made once and
kept in the workdir. Axes: N objects, V views, S pixels per side.
"""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from jax3dgen.core import image as pictures
from jax3dgen.core import parallel, rng, tree
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import multiview as world
from jax3dgen.data import view_corruptions as corruptions
from jax3dgen.formats import features
from jax3dgen.perception import consistency
from jax3dgen.prior import multiview_loading
from jax3dgen.recipes.nets import consistency_checks as checks
from jax3dgen.recipes.nets import multiview as multiview_net
from jax3dgen.recipes.nets import ship

CHANGES = ('hands swapped', 'hands swapped', 'hand color', 'hand color', 'color', 'hat',
           'proportions')
SHARES = ('generated', 'corrupted', 'object', 'view')  # of config.negatives

CARD = """# The metric of 3D consistency of the embedded world

A score of a view of a figurine against a reference picture of it, {count:,} parameters, float16 on
disk: the vision transformer of `features`, tuned, and the head `{head}`
(`jax3dgen/perception/consistency.py`). It is near 1 where the view is that of the referenced
object, near 0 where not; an object's score is the sum over its views.

- licence: Apache-2.0, as the project
- data: none fetched; objects of `jax3dgen.data.multiview`, split 'train'
- loss: squared error to 1 for true views and to 0 for negatives, which are by their shares
  {generated:g} views of the shipped multi-view prior, {corrupted:g} views after a change
  ({changes}),
  {object:g} views of another object, {view:g} another side of the object
- command: `python -m experiments.train_net --config configs/nets/consistency.py \
--workdir runs/consistency`
- {steps} steps of {batch} objects on {devices} devices, seed {seed}, averaged weights; the config
  is in config.json

## Held-out objects ({objects} of the split 'validation')

AUC: the share of the affected views whose true picture has the higher score; chance is .5. 95 %
intervals over objects.

| corruption | AUC | interval | views |
|---|---|---|---|
{rows}

The other heads, and the agreement with the PSNR of samples, are in docs/results/multiview.md of the
project.

## Limits

It knows this procedural world and nothing else. An object that is optimised through it can fool it.
"""


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'consistency'
  c.weights = ''  # the folder of a trained metric, for runs that only apply it; '': the shipped one

  c.prior = multiview_loading.default_config()

  c.net = ConfigDict()
  c.net.features = ''  # features by which training begins, a folder; '': the shipped ones
  c.net.head = 'pair'  # pair, or a linear one: concat (the paper's), product, difference, ...
  c.net.parts = 8  # of the pair head: parts of a view
  c.net.width = 24  # features of a part
  c.net.hidden = 128  # width of its MLP

  c.negatives = ConfigDict()  # shares of the negatives in the loss; their sum is 1
  c.negatives.generated = 0.25  # views of the prior
  c.negatives.corrupted = 0.5  # views of the object after a change
  c.negatives.object = 0.1  # views of another object
  c.negatives.view = 0.15  # another view of the object

  c.changed = ConfigDict()
  c.changed.count = 1500  # objects of the split 'train', each rendered as it is and after a change
  c.changed.first = 10000  # the number of the first of them
  c.changed.names = CHANGES  # of `data/view_corruptions`; a repeated one is drawn more often

  c.generated = ConfigDict()
  c.generated.count = 200  # objects of the split 'train' whose views are sampled
  c.generated.first = 6000  # the number of the first of them, beyond those that trained the prior

  c.sample = multiview_net.default_config().sample  # how they are sampled

  c.optim.rate = 1e-3  # Adam's largest learning rate
  c.optim.encoder = 0.5  # that of the encoder, in units of it
  c.optim.warmup = 50
  c.optim.ema = 0.995

  c.train.steps = 500
  c.train.batch = 8  # objects per step, over all devices together

  c.test = ConfigDict()
  c.test.objects = 100  # objects of the split 'validation'
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


def generated_rows(shares, batch):
  """How many of `batch` objects have generated views in place of those of a changed object.

  ConfigError where the batch is too small for both.
  """
  both = shares['generated'] + shares['corrupted']
  count = round(batch * shares['generated'] / both) if both else 0
  if both and ((shares['generated'] > 0) != (count > 0)
               or (shares['corrupted'] > 0) != (count < batch)):
    raise ConfigError(f'config.train.batch: {batch} objects on a device are too few for the shares '
                      f'{shares} of config.negatives.')
  return count


def shares_of(cfg):
  """{name: share} of config.negatives; ConfigError unless they are shares whose sum is 1."""
  shares = {name: cfg.negatives[name] for name in SHARES}
  if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
    raise ConfigError(f'config.negatives: the shares {shares} must be 0 or more, and their sum 1.')
  return shares


def loss(cfg, count, axis_name=None):
  """The loss of random objects of `data` on one of `count` devices (see `ship.Net`)."""
  model, batch, shares = build(cfg)[0], cfg.train.batch // count, shares_of(cfg)
  generated = generated_rows(shares, batch)

  def pick(key, group, size):
    index = jax.random.randint(key, (size,), 0, len(group['slot']))
    true, bad = (group[name][index] / jnp.float32(255) for name in ('true', 'bad'))
    return true, bad, group['slot'][index]

  def of_objects(params, key, groups):
    parts = [pick(rng.stream(key, name), groups[name], size)
             for name, size in (('generated', generated), ('changed', batch - generated)) if size]
    true, bad, slot = (jnp.concatenate(x) for x in zip(*parts, strict=True))
    wrong = corruptions.wrong_slots(rng.stream(key, 'views'), batch)
    terms = consistency.losses(model, params, true, bad, jnp.arange(batch) >= generated,
                               corruptions.affected(true, bad), slot, wrong)
    return terms['true'] + sum(shares[name] * terms[name] for name in shares), terms
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
  """{'changed', 'generated': {'true', 'bad' [N, V, S, S, 3] uint8, 'slot' [N]}}, each where it has
  a share in the loss. What the workdir lacks is rendered or sampled first.
  """
  groups = {}
  if generated_rows(shares_of(cfg), cfg.train.batch) < cfg.train.batch:
    record = ['changed', cfg.changed.to_dict(), cfg.seed, world.HAND, world.HAND_RGB.tolist()]
    groups['changed'] = checks.stored(workdir, record, lambda: _changed(cfg))
  if cfg.negatives.generated:
    prior, params, _ = multiview_loading.load(cfg.prior)
    record = ['generated', cfg.generated.to_dict(), cfg.sample.to_dict(), tree.digest(params)]
    groups['generated'] = checks.stored(workdir, record, lambda: _generated(cfg, prior, params))
  return groups


def _changed(cfg):
  print(f'Rendering {2 * cfg.changed.count:,} objects.', flush=True)
  held = checks.draw('train', cfg.changed.count, cfg.changed.first)
  key = rng.stream(jax.random.key(cfg.seed), 'changes')
  other = corruptions.mixed(key, held.objects, cfg.changed.names)
  return {'true': pictures.to_uint8(held.views), 'bad': pictures.to_uint8(checks.render(other)),
          'slot': held.slot}


def _generated(cfg, prior, params):
  print(f'Sampling views of {cfg.generated.count:,} objects.', flush=True)
  held = checks.draw('train', cfg.generated.count, cfg.generated.first)
  return {'true': pictures.to_uint8(held.views), 'slot': held.slot, 'bad': checks.generated(
      prior, params, held, cfg.sample)[:, 0]}


def measure(params, cfg):
  """{corruption: `consistency_checks.order`} on held-out views; with negatives of a prior also
  'generated', its views of them."""
  model = build(cfg)[0]
  held = checks.draw('validation', cfg.test.objects)
  cases = checks.corrupted(held)
  if cfg.negatives.generated:
    prior, prior_params, _ = multiview_loading.load(cfg.prior)
    views = checks.generated(prior, prior_params, held, cfg.sample)[:, 0]
    cases['generated'] = views / np.float32(255), checks.away(held)
  apply = jax.jit(lambda *arguments: consistency.scores(model, *arguments))
  return checks.figures(lambda views: checks.scores(apply, params, held, views), held, cases)


def files(result):
  """config.json with the sizes of the net, which `perception.consistency.load` reads."""
  net = {name: result.config.net[name] for name in ('head', 'parts', 'width', 'hidden')}
  net['encoder'] = features.describe(build(result.config)[1])
  return {'config.json': ship.json_text({'net': net, 'config': result.config.to_dict(),
                                         'measured': result.figures})}


def card(result):
  """The text of the card."""
  config, measured = result.config, result.figures
  rows = '\n'.join(f'| {name} | {x["auc"]:.3f} | {x["low"]:.3f} to {x["high"]:.3f} | '
                   f'{x["count"]} |' for name, x in measured.items())
  changes = ', '.join(dict.fromkeys(config.changed.names))
  return CARD.format(
      count=tree.count(result.params), head=config.net.head, steps=config.train.steps,
      batch=config.train.batch, devices=parallel.device_count(), seed=config.seed,
      objects=config.test.objects, changes=changes, rows=rows,
      **{name: config.negatives[name] for name in SHARES})


NET = ship.Net('consistency metric', default_config, init, loss, measure, card, optimiser, files,
               data=data)

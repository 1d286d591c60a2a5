"""The referee: a classifier of kind, colour, view sector and face, used only to measure.

It draws its own pictures, so there is no data set. Axes: B pictures of this device.
"""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import optax

from jax3dgen.core import parallel, rng, tree
from jax3dgen.data import figurine_views, figurines, referee_examples
from jax3dgen.metrics import referee
from jax3dgen.nn import referee as nets
from jax3dgen.recipes.nets import referee_checks, ship

CARD = """# The referee of the embedded world

A convolutional classifier of 32 x 32 pictures of figurines, {count:,} parameters, float16 on disk.
It gives the kind (or "{reject}"), the colour, the view sector (8 of 45 degrees; sector 0 faces the
front) and whether a face is visible (at least {share:.0%} of the figurine's outline).
For measuring only: no objective may be trained against it.

- licence: Apache-2.0, as the project
- data: none fetched; pictures of `jax3dgen.data.figurines` drawn while training, azimuths uniform
- command: `python -m experiments.train_net --config configs/nets/referee.py \
--workdir runs/referee`
- {steps} steps of {batch} pictures on {devices} devices, seed {seed}, averaged weights; the config
  is in config.json

## Held-out accuracy ({pictures:,} pictures each, fresh draws of the same world)

Clean pictures, and pictures spoilt as in training (blur, speckle, noise, pale or drifting colours,
ghosts). Views 8 x 45 degrees: a picture near a border is ambiguous, its plain accuracy is given.

| pictures | kind | colour | view sector | face |
|---|---|---|---|---|
{accuracy}

By kind, on clean pictures:

| kind | kind | colour | view sector | face |
|---|---|---|---|---|
{per_kind}

By colour, on clean pictures: {per_color}.

## No figurines, half of them spoilt: share rejected

{rejected}.

## Correct figurines: every kind x colour x hat, 24 views at 15 degrees

The arc is the part of the circle over which the face is seen: the reference of `face_count`. Two
numbers are the least and the greatest over the strips; one is the worst.

| kind | face arc | all right | face count | winding | view KL (nats) | rejected |
|---|---|---|---|---|---|---|
{strips}

## Limits

It knows this procedural world and nothing else. An object that was optimised against it can fool
it. `reject` was learnt from the sorts above; another sort of picture may pass as a figurine.
"""


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'referee'

  c.net = ConfigDict()
  c.net.widths = (32, 64, 96)  # channels at 16, 8 and 4 pixels
  c.net.hidden = 64  # width of the layer that the heads share

  c.views = figurine_views.default_config().views
  c.views.face_share = 0.12  # a face is visible where it covers this share of the figurine
  c.views.ring_distance = 2.9  # distance of the rings of views on which the face arcs are measured

  c.data = ConfigDict()
  c.data.strength = 1.0  # how much the pictures are spoilt; 0: not at all
  c.data.clean = 0.3  # share of the pictures that are not spoilt
  c.data.rejects = 0.2  # share of the pictures that show no figurine
  c.data.spread_deg = 3.0  # width of the soft azimuth labels

  c.train.steps = 3500
  c.test = ConfigDict()
  c.test.count = 12000  # held-out pictures, clean and spoilt
  c.test.rejects = 1000  # held-out pictures of each sort of no figurine
  return c.lock()


def network(cfg):
  """The net of the config for this world's kinds and colours."""
  return nets.Referee(len(figurines.KINDS), len(figurines.COLORS), tuple(cfg.net.widths),
                      cfg.net.hidden)


def init(cfg):
  """New parameters."""
  images = jnp.zeros((2, nets.SIZE, nets.SIZE, 3))
  return jax.jit(network(cfg).init)(jax.random.key(cfg.seed), images)['params']


def objective(net, params, examples, spread_deg):
  """(loss [], its terms): cross entropies of kind, colour, azimuth and face.

  The last three count only where there is a figurine. The azimuth's labels are soft (`spread_deg`)
  and its term is their divergence, so that a perfect classifier reaches 0.
  """
  out = net.apply({'params': params}, examples.images)
  real = (examples.kind < net.kinds).astype(jnp.float32)
  mean = lambda x: jnp.sum(real * x) / jnp.maximum(real.sum(), 1.0)
  hard = optax.softmax_cross_entropy_with_integer_labels
  target = nets.azimuth_target(examples.azimuth, spread_deg)
  terms = {
      'kind': hard(out.kind, examples.kind).mean(),
      'color': mean(hard(out.color, examples.color)),
      'azimuth': mean(optax.kl_divergence(jax.nn.log_softmax(out.azimuth), target)),
      'face': mean(optax.sigmoid_binary_cross_entropy(out.face, examples.face)),
  }
  return sum(terms.values()), terms


def loss(cfg, count, axis_name=None):
  """The loss of fresh pictures on one of `count` devices (see `ship.Net`)."""
  net, batch = network(cfg), ship.even_share(cfg, count)

  def of_pictures(params, key):
    examples = referee_examples.draw(key, batch, cfg.views, cfg.data.strength, cfg.data.clean,
                                     cfg.data.rejects)
    return objective(net, params, examples, cfg.data.spread_deg)
  return of_pictures


def measure(params, cfg):
  """{'labels': Labels with the measured face arcs, 'clean', 'degraded', 'rejected', 'strips'}."""
  key = jax.random.key(ship.HELD_OUT)
  strips = referee_checks.strips(params, cfg.views)
  labels = referee.Labels(tuple(figurines.KINDS), tuple(figurines.COLORS), referee.REJECT,
                          referee_checks.face_arcs(strips), cfg.views.face_share)
  accuracy = lambda name, strength: referee_checks.accuracy(
      params, rng.stream(key, name), cfg.views, cfg.test.count, strength)
  return {'labels': labels,
          'clean': accuracy('clean', 0.0), 'degraded': accuracy('degraded', cfg.data.strength),
          'rejected': referee_checks.reject_rates(params, rng.stream(key, 'rejected'), cfg.views,
                                                  cfg.test.rejects),
          'strips': referee_checks.figures_of_strips(strips, labels)}


def files(result):
  """labels.json, what `metrics.referee.labels` reads, and config.json without it."""
  figures = {name: x for name, x in result.figures.items() if name != 'labels'}
  return {'labels.json': ship.json_text(result.figures['labels']._asdict()),
          'config.json': ship.json_text({'config': result.config.to_dict(), 'measured': figures})}


def percent(shares):
  """The four accuracies as cells of a table."""
  return ' | '.join(f'{100 * shares[name]:.2f} %' for name in ('kind', 'color', 'sector', 'face'))


def card(result):
  """The text of the card."""
  config, figures, labels = result.config, result.figures, result.figures['labels']
  listed = lambda shares: ', '.join(f'{name.replace("_", " ")} {100 * share:.1f} %'
                                    for name, share in shares.items())
  span = lambda pair, form: f'{pair[0]:{form}} .. {pair[1]:{form}}'
  return CARD.format(
      count=tree.count(result.params), reject=labels.reject, share=labels.face_share,
      steps=config.train.steps, batch=config.train.batch, seed=config.seed,
      devices=parallel.device_count(), pictures=config.test.count,
      accuracy='\n'.join(f'| {name} | {percent(figures[name])} |'
                         for name in ('clean', 'degraded')),
      per_kind='\n'.join(f'| {kind} | {percent(shares)} |'
                         for kind, shares in figures['clean']['per_kind'].items()),
      per_color=listed(figures['clean']['per_color']), rejected=listed(figures['rejected']),
      strips='\n'.join(
          f'| {kind} | {labels.face_arc_deg[kind]:.0f} deg | {100 * row["right"]:.0f} % | '
          f'{span(row["face_count"], "d")} | {span(row["winding"], ".3f")} | '
          f'{row["view_kl"]:.4f} | {row["reject_rate"]:.2f} |'
          for kind, row in figures['strips'].items()))


NET = ship.Net('referee', default_config, init, loss, measure, card, files=files,
               sealed=('labels.json',))

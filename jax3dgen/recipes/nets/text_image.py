"""The text-image model of the embedded world, a small CLIP: captions, loss, measures and card.

It draws its own pictures and captions. Which captions of a batch are true of which of its images is
known, so that none that is true counts as a negative. Axes: B pairs of this device, L words, D
embedding.
"""

import functools
import json

from flax import struct
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from jax3dgen.core import camera as cameras
from jax3dgen.core import parallel, rng, tree
from jax3dgen.core.types import Array
from jax3dgen.data import figurine_examples, figurine_views, figurines, prompts
from jax3dgen.metrics import entropy
from jax3dgen.nn import text_image as nets
from jax3dgen.perception import text_image
from jax3dgen.recipes.nets import ship

HAT = figurine_examples.words().index('hat')
LOG_SCALE = 4.6  # bound of the logarithm of the scale, as in CLIP (ln 100)
CHUNK = 200  # pictures per compiled call of `measure`
RING = 10  # views of the entropies, as in RecDreamer
SIDES = (1, 2, 3)  # of `prompts.VIEW_PHRASES`: front, side, back

CARD = """# The text-image model of the embedded world

Two small towers, {count:,} parameters, float16 on disk: a convolutional one for 32 x 32 pictures of
figurines and a transformer over the closed vocabulary of their captions (words.json). Both give
unit vectors of {embedding} numbers; their cosine measures how well a caption fits. It stands in
for CLIP in the measures that ask CLIP (class entropy, text distance), until real weights are given.
For measuring only: no objective may be trained against it.

- licence: Apache-2.0, as the project
- data: none fetched; captioned pictures drawn while training, azimuths uniform
- command: `python -m experiments.train_net --config configs/nets/text_image.py \
--workdir runs/text_image`
- {steps} steps of {batch} pairs on {devices} devices (each contrasts its own), seed {seed},
  averaged weights; the config is in config.json

## Held-out accuracy ({pictures:,} pictures each, fresh draws of the same world)

Object: kind and colour among all 36. Side: front, side or back form of the right caption; a view
near a border is ambiguous, its plain accuracy is given.

| pictures | object | side |
|---|---|---|
{accuracy}

## Correct figurines: every kind x colour, 10 views at 15 degrees

- class entropy over front, side and back: mean {mean:.4f}, least {least:.4f} nats. A classifier
  without errors would give 1.0889 (3, 4 and 3 of 10 views); ln 3 is 1.0986.
- 1 - cosine: {distance:.4f} to the right prompt, {wrong:.4f} to that of another colour.
- cosines become logits by the factor {scale:.2f}.

## Limits

It knows this procedural world and its words, and nothing else. Its distances are not those of
CLIP: compare them only with each other.
"""


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'text_image'

  c.net = ConfigDict()
  c.net.widths = (24, 48, 64)  # channels at 16, 8 and 4 pixels
  c.net.embedding = 64  # length of the vectors of images and captions

  c.text = ConfigDict()
  c.text.width = 64  # width of the caption encoder
  c.text.depth = 2  # its layers
  c.text.heads = 4  # its attention heads

  c.data = ConfigDict()
  c.data.phrase = 0.7  # share of the captions that name the view
  c.data.above = 0.15  # share of the views from above
  c.data.hat = 0.2  # share of the figurines that wear a hat
  c.data.strength = 1.0  # how much the pictures are spoilt; 0: not at all
  c.data.clean = 0.4  # share of the pictures that are not spoilt

  c.train.steps = 600
  c.train.batch = 128  # pairs per step, over all devices together; each device contrasts its pairs

  c.test = ConfigDict()
  c.test.count = 6000  # held-out pictures, clean and spoilt
  return c.lock()


@struct.dataclass
class Pairs:
  """B images [B, S, S, 3] and captions: tokens [B, L], truth [B, B] (1 where caption j is true of
  image i), kind, color and view [B] (into `prompts.VIEW_PHRASES`) of the images."""
  images: Array
  tokens: Array
  truth: Array
  kind: Array
  color: Array
  view: Array


def net_config(cfg):
  """The sizes of the towers as plain values, for config.json."""
  return {'widths': list(cfg.net.widths), 'embedding': cfg.net.embedding,
          'text': {'words': len(figurine_examples.words()), 'length': figurine_examples.LENGTH,
                   'width': cfg.text.width, 'depth': cfg.text.depth, 'heads': cfg.text.heads}}


def init(cfg):
  """New parameters."""
  return jax.jit(text_image.network(net_config(cfg))[0])(jax.random.key(cfg.seed))


def draw(key, batch, data, strength):
  """Random Pairs [batch] (even), azimuths uniform, spoilt by up to `strength` but for a share.

  `data` is that section of the config.
  """
  e = figurine_examples.draw(rng.stream(key, 'examples'), batch, uniform=1.0, phrase=data.phrase,
                             double_phrase=0.0, degraded=0.0, hat=data.hat, above=data.above,
                             size=nets.SIZE)
  u = jax.random.uniform(rng.stream(key, 'amounts'), (batch, figurine_views.DRAWS))
  grain = jax.random.normal(rng.stream(key, 'grain'), (batch, nets.SIZE, nets.SIZE, 4))
  clean = jax.random.bernoulli(rng.stream(key, 'clean'), data.clean, (batch, 1, 1, 1))
  images = figurine_views.spoil(u, grain, e.image, jnp.where(clean, 0.0, strength))
  figurine = e.figurine
  return Pairs(images, e.tokens, truth(figurine, e.view, e.tokens, e.phrase), figurine.kind,
               figurine.color, e.view)


def truth(figurine, view, tokens, phrase):
  """[B, B] in {0, 1}: whether caption j (tokens [B, L], its view phrase [B]) is true of image i.

  A caption without hat or view (0) is true with and without a hat, and of every view.
  """
  same = lambda x: x[:, None] == x[None]
  names_hat = (tokens == HAT).any(-1)
  hat = (figurine.hat[:, None] > 0) | ~names_hat[None]
  from_there = (phrase[None] == 0) | (view[:, None] == phrase[None])
  return (same(figurine.kind) & same(figurine.color) & hat & from_there).astype(jnp.float32)


def objective(apply, params, pairs):
  """(loss [], its terms): CLIP's cross entropies between images and captions of a batch, both ways.

  The target is uniform over all that is true, and its entropy is subtracted: a perfect model
  reaches 0. `apply` is (images, texts) of `perception.text_image.network`.
  """
  images, texts = apply
  cosine = images(params, pairs.images) @ texts(params, pairs.tokens).T
  logits = jnp.exp(jnp.minimum(params['log_scale'], LOG_SCALE)) * cosine
  share = lambda x: x / x.sum(-1, keepdims=True)
  divergence = lambda logits, target: optax.kl_divergence(jax.nn.log_softmax(logits), target).mean()
  terms = {'to_text': divergence(logits, share(pairs.truth)),
           'to_image': divergence(logits.T, share(pairs.truth.T))}
  return 0.5 * sum(terms.values()), terms


def loss(cfg, count, axis_name=None):
  """The loss of fresh pairs on one of `count` devices (see `ship.Net`)."""
  apply, batch = text_image.network(net_config(cfg))[1:], ship.even_share(cfg, count)

  def of_pairs(params, key):
    return objective(apply, params, draw(key, batch, cfg.data, cfg.data.strength))
  return of_pairs


def measure(params, cfg):
  """{'clean', 'spoilt': {'object', 'side'}, 'entropy', 'distance', 'wrong_distance', 'scale'}.

  object: share of held-out pictures whose kind and colour have the largest cosine among all; side:
  whose view has it among the front, side and back forms of the right words (views from above left
  out); both plain, though a view near a border is ambiguous. entropy: cEnt of correct figurines,
  mean and least. distance, wrong_distance: 1 - cosine to the right prompt and to that of another
  colour.
  """
  model = text_image.model(net_config(cfg), figurine_examples.words(), params)
  names = [f'a {color} {kind}' for kind in figurines.KINDS for color in figurines.COLORS]
  plain = np.asarray(model.texts(names))
  sides = np.stack([model.texts([f'{name}, {prompts.VIEW_PHRASES[s]}' for name in names])
                    for s in SIDES], 1)  # [objects, 3, D]
  key = jax.random.key(ship.HELD_OUT)
  shares = lambda name, strength: _shares(model, plain, sides, rng.stream(key, name), cfg, strength)
  return {'clean': shares('clean', 0.0), 'spoilt': shares('spoilt', cfg.data.strength),
          **_rings(model, names, plain, sides), 'scale': model.scale}


def _shares(model, plain, sides, key, cfg, strength):
  """{'object', 'side'} of `measure` on pictures spoilt by `strength`."""
  pairs_of = _drawer(cfg)
  objects, views = [], []
  for k in jax.random.split(key, -(-cfg.test.count // CHUNK)):
    pairs = pairs_of(k, strength)
    image = np.asarray(model.images(pairs.images))
    index = np.asarray(pairs.kind * len(figurines.COLORS) + pairs.color)
    view = np.asarray(pairs.view)
    objects.append((image @ plain.T).argmax(1) == index)
    side = np.einsum('bd,bsd->bs', image, sides[index]).argmax(1)
    views.append((side == view - 1)[view <= max(SIDES)])
  return {'object': float(np.concatenate(objects).mean()),
          'side': float(np.concatenate(views).mean())}


@functools.cache
def _drawer(cfg):
  return jax.jit(lambda key, strength: draw(key, CHUNK, cfg.data, strength))


def _rings(model, names, plain, sides):
  """cEnt and distances of every kind x colour, without a hat, seen from RING even views."""
  camera = cameras.ring(RING, np.deg2rad(15.0), 2.9, np.deg2rad(40.0))

  @jax.jit
  def render(kind, color):
    full = lambda x: jnp.full((RING,), x, jnp.int32)
    return figurines.render(figurines.Figurine(full(kind), full(color), full(0)), camera, 32).rgb

  colors, rows = len(figurines.COLORS), []
  for i in range(len(names)):
    image = np.asarray(model.images(render(i // colors, i % colors)))
    other = i // colors * colors + (i + 1) % colors
    p = entropy.zero_shot(image, sides[i], model.scale)
    rows.append((entropy.of_mean(p), 1 - (image @ plain[i]).mean(),
                 1 - (image @ plain[other]).mean()))
  rows = np.array(rows, np.float64)
  return {'entropy': {'mean': float(rows[:, 0].mean()), 'least': float(rows[:, 0].min())},
          'distance': float(rows[:, 1].mean()), 'wrong_distance': float(rows[:, 2].mean())}


def files(result):
  """config.json with the sizes of the towers and words.json, as `perception.text_image` reads them.
  """
  return {'config.json': ship.json_text({
              'net': net_config(result.config), 'config': result.config.to_dict(),
              'measured': result.figures}),
          'words.json': json.dumps(list(figurine_examples.words())) + '\n'}


def card(result):
  """The text of the card."""
  config, figures = result.config, result.figures
  percent = lambda shares: ' | '.join(f'{100 * shares[name]:.2f} %' for name in ('object', 'side'))
  return CARD.format(
      count=tree.count(result.params), embedding=config.net.embedding, steps=config.train.steps,
      batch=config.train.batch, devices=parallel.device_count(), seed=config.seed,
      pictures=config.test.count, scale=figures['scale'], distance=figures['distance'],
      wrong=figures['wrong_distance'], **figures['entropy'],
      accuracy='\n'.join(f'| {name} | {percent(figures[name])} |' for name in ('clean', 'spoilt')))


NET = ship.Net('text-image', default_config, init, loss, measure, card, files=files,
               sealed=('config.json', 'words.json'))

"""Features of pictures by self-supervision: no pose, kind or colour enters the loss.

Two crops of one picture, with different colours and distortions, are to have similar class tokens,
unlike those of all other pictures of the batch (InfoNCE, van den Oord et al. 2018, Eq. 4); where
both crops show the same place, their patches are to be similar, unlike those of other places and
pictures. A batch holds few figurines, each from many sides: kind and colour then separate a picture
from few of the others, and its pose separates it from the rest. Other than in DINOv2's recipe no
crop is mirrored: the mirror image of a figurine seen from its left is one seen from its right, and
the two must not have similar features.

Axes: B pictures of this device, S compared patches of each, C channels.
"""

import functools

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import parallel, rng, tree
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_views
from jax3dgen.formats import features
from jax3dgen.nn import vit
from jax3dgen.perception import augment, contrastive
from jax3dgen.recipes.nets import ship

SIZE = features.SIZE
CHUNK = 200  # pictures per compiled call of `measure`
GAP_DEG = 45.0  # a neighbour within this azimuth shows the same side

CARD = """# Features of the embedded world's pictures

A vision transformer for 32 x 32 pictures of figurines, {count:,} parameters, float16 on disk:
patches of {patch} pixels, {width} channels, {depth} blocks, {heads} heads. It gives a class token
and a map of patches, by which `jax3dgen.perception.pose` compares pictures with templates of poses.

- licence: Apache-2.0, as the project
- data: none fetched; pictures of `jax3dgen.data.figurines` drawn while training, azimuths uniform
- objective: contrast of two crops of one picture with those of all others, and of their patches; no
  label of pose, kind or colour is used, and no crop is mirrored
- command: `python -m experiments.train_net --config configs/nets/features.py \
--workdir runs/features`
- {steps} steps of {batch} pictures on {devices} devices, seed {seed}, averaged weights; the config
  is in config.json

## Nearest neighbours of held-out pictures ({pictures:,} fresh draws of the same world)

The most similar other picture by class token. "Same side": of the same kind, and within 45
degrees of azimuth; the gap is the median over those of the same kind. Spoilt: blur, speckle, noise,
pale or drifting colours, ghosts.

| pictures | same kind | same side | gap |
|---|---|---|---|
{rows}

The accuracy of poses by these features is in docs/results/pose_classifier.md of the project.

## Limits

It knows this procedural world and nothing else. An object that is optimised through it can fool it.
"""


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'features'

  c.net = ConfigDict()
  c.net.width = 96  # channels of the class token and of the patches
  c.net.depth = 4  # blocks
  c.net.heads = 4  # heads of attention in each block
  c.net.patch = 4  # pixels per side of a patch
  c.net.branch = 1.0  # scale of the blocks' branches before training

  c.views = figurine_views.default_config().views

  c.augment = ConfigDict()
  c.augment.shift = 0.3  # crops move by up to this; the picture runs from -1 to 1
  c.augment.scale = (0.75, 1.2)  # range of the crops' sizes, across and down each for itself
  c.augment.shear = 0.1  # most that a crop's columns lean, as a slope
  c.augment.hue = 0.3  # share of the crops whose hues are turned by any angle
  c.augment.mix = 0.1  # spread of the random part of how colour channels are mixed
  c.augment.tone = 0.3  # brightness, contrast and saturation change by up to this
  c.augment.grey = 0.2  # share of the crops without colour
  c.augment.lines = 0.1  # share of the crops of which only outlines are left
  c.augment.strength = 1.0  # how much the crops are spoilt as radiance fields do; 0: not at all
  c.augment.clean = 0.3  # share of the crops that are not spoilt

  c.loss = ConfigDict()
  c.loss.temperature = 0.1  # of the softmax over class tokens
  c.loss.patch_temperature = 0.2  # of the softmax over patches
  c.loss.patches = 12  # patches of each picture that are compared
  c.loss.patch_weight = 0.5  # of the loss of patches; that of class tokens has 1

  c.optim.rate = 1.5e-3  # AdamW's largest learning rate
  c.optim.b2 = 0.98  # AdamW's second-moment decay
  c.optim.decay = 0.05  # AdamW's weight decay, on matrices only
  c.optim.ema = 0.995

  c.train.steps = 1800
  c.train.batch = 96  # pictures per step, two crops of each, over all devices together
  c.train.figurines = 4  # figurines that a step's pictures show, each from as many sides

  c.test = ConfigDict()
  c.test.count = 4000  # held-out pictures among which neighbours are looked for
  return c.lock()


def network(cfg):
  """The net of the config; ConfigError where its sizes do not fit."""
  if SIZE % cfg.net.patch or cfg.net.width % cfg.net.heads:
    raise ConfigError(f'config.net.patch={cfg.net.patch} must divide {SIZE}, and config.net.heads='
                      f'{cfg.net.heads} must divide config.net.width={cfg.net.width}.')
  return vit.ViT(cfg.net.width, cfg.net.depth, cfg.net.heads, cfg.net.patch, SIZE // cfg.net.patch,
                 branch=cfg.net.branch)


def init(cfg):
  """New parameters."""
  images = jnp.zeros((2, SIZE, SIZE, 3))
  return jax.jit(network(cfg).init)(jax.random.key(cfg.seed), images)['params']


def crops(key, images, cfg):
  """(crops [B, 32, 32, 3] of images [B, 32, 32, 3], the Crop): moved, recoloured and spoilt."""
  batch = len(images)
  k_place, k_color, k_mix, k_amounts, k_grain = jax.random.split(key, 5)
  u = 2 * jax.random.uniform(k_place, (5, batch)) - 1
  low, high = cfg.scale
  crop = augment.Crop(cfg.shift * u[:2].T, 0.5 * (low + high) + 0.5 * (high - low) * u[2:4].T,
                      cfg.shear * u[4])
  out = augment.apply_crop(images, crop)
  v = jax.random.uniform(k_color, (8, batch))
  tone = lambda x: 1.0 + cfg.tone * (2 * x - 1)
  angle = jnp.where(v[0] < cfg.hue, np.pi, 0.3) * (2 * v[1] - 1)
  mix = cfg.mix * jax.random.normal(k_mix, (batch, 3, 3))
  matrix = augment.colour_matrix(angle, tone(v[2])) + mix - mix.mean(-1, keepdims=True)
  out = augment.recolour(out, matrix, jnp.minimum(tone(v[3]), 1.1), tone(v[4]))
  out = augment.outline(augment.to_grey(out, v[5] < cfg.grey), v[7] < cfg.lines)
  strength = jnp.where(v[6] < cfg.clean, 0.0, cfg.strength)[:, None, None, None]
  return figurine_views.spoil(
      jax.random.uniform(k_amounts, (batch, figurine_views.DRAWS)),
      jax.random.normal(k_grain, (batch, SIZE, SIZE, 4)), out, strength), crop


def objective(net, params, key, images, cfg, axis_name=None):
  """(loss [], its terms): InfoNCE of class tokens, both ways, and of patches at the same places.

  images [B, 32, 32, 3]; the class tokens of all devices of `axis_name` are one batch.
  """
  k_one, k_two, k_places = jax.random.split(key, 3)
  (one, crop_one), (two, crop_two) = (crops(k, images, cfg.augment) for k in (k_one, k_two))
  token, patches = features.small(net)(params, jnp.concatenate([one, two]))
  a, b = jnp.split(contrastive.unit(token), 2)
  if axis_name:
    gather = lambda x: jax.lax.all_gather(x, axis_name, tiled=True)
    first = len(images) * jax.lax.axis_index(axis_name)
  else:
    gather, first = (lambda x: x), 0
  forth, hit = contrastive.info_nce(a, gather(b), first, cfg.loss.temperature)
  back, _ = contrastive.info_nce(b, gather(a), first, cfg.loss.temperature)
  p, q = jnp.split(patches, 2)
  x, y = contrastive.sample_patches(k_places, augment.apply_crop(images, crop_one),
                                    cfg.loss.patches, p.shape[1])
  u, v = augment.target(crop_two, *augment.source(crop_one, x, y))
  inside = (jnp.abs(u) < 1) & (jnp.abs(v) < 1)  # places that the second crop shows too
  flat = lambda z: contrastive.unit(z).reshape(-1, z.shape[-1])
  local, local_hit = contrastive.info_nce(
      flat(contrastive.interpolate(p, x, y)), flat(contrastive.interpolate(q, u, v)), 0,
      cfg.loss.patch_temperature, inside.reshape(-1).astype(jnp.float32))
  terms = {'token': 0.5 * (forth + back), 'patch': local, 'token_hit': hit, 'patch_hit': local_hit}
  return terms['token'] + cfg.loss.patch_weight * local, terms


def loss(cfg, count, axis_name=None):
  """The loss of fresh pictures on one of `count` devices (see `ship.Net`)."""
  if cfg.train.figurines % (2 * count) or cfg.train.batch % cfg.train.figurines:
    raise ConfigError(f'config.train.figurines={cfg.train.figurines} must be a multiple of '
                      f'{2 * count}, an even number for each of {count} devices, and '
                      f'config.train.batch={cfg.train.batch} a multiple of it.')
  net, batch, figures = network(cfg), cfg.train.batch // count, cfg.train.figurines // count

  def of_pictures(params, key):
    images = figurine_views.pictures(rng.stream(key, 'pictures'), batch, figures, cfg.views)[0]
    return objective(net, params, rng.stream(key, 'crops'), images, cfg, axis_name)
  return of_pictures


@functools.partial(jax.jit, static_argnames=('net', 'views', 'strength'))
def _tokens(net, params, key, views, strength):
  """(class tokens [CHUNK, C] of unit length, kinds and azimuths [CHUNK]) of held-out pictures."""
  k_draw, k_amounts, k_grain = jax.random.split(key, 3)
  images, figurine, camera = figurine_views.pictures(k_draw, CHUNK, CHUNK, views)
  images = figurine_views.spoil(
      jax.random.uniform(k_amounts, (CHUNK, figurine_views.DRAWS)),
      jax.random.normal(k_grain, images.shape[:3] + (4,)), images, strength)
  token, _ = features.small(net)(params, images)
  return contrastive.unit(token), figurine.kind, camera.azimuth


def measure(params, cfg):
  """{'clean', 'spoilt': {'kind', 'side', 'gap_deg'}} of the nearest neighbours of held-out views.

  The nearest neighbour of a picture is the most similar other one by class token. kind: share of
  neighbours of the same kind; side: of the same kind and within GAP_DEG of azimuth; gap_deg: median
  difference of azimuth. Only here are kinds and azimuths used.
  """
  net, figures = network(cfg), {}
  for name, strength in (('clean', 0.0), ('spoilt', cfg.augment.strength)):
    keys = jax.random.split(rng.stream(jax.random.key(ship.HELD_OUT), name),
                            -(-cfg.test.count // CHUNK))
    parts = [_tokens(net, params, key, cfg.views, strength) for key in keys]
    figures[name] = neighbours(*(np.concatenate(x) for x in zip(*parts, strict=True)))
  return figures


def neighbours(token, kind, azimuth):
  """The figures of `measure` for unit tokens [N, C], kinds [N] and azimuths [N] (radians)."""
  similarity = token @ token.T
  np.fill_diagonal(similarity, -np.inf)
  nearest = similarity.argmax(-1)
  gap = np.rad2deg(np.abs(cameras.wrap(jnp.asarray(azimuth - azimuth[nearest]))))
  same = kind == kind[nearest]
  return {'kind': float(same.mean()), 'side': float((same & (gap <= GAP_DEG)).mean()),
          'gap_deg': float(np.median(gap[same])) if same.any() else 180.0}


def files(result):
  """config.json with the sizes of the net, which `formats.features.load` reads."""
  net = network(result.config)
  return {'config.json': ship.json_text({
      'net': {name: getattr(net, name) for name in features.SIZES},
      'config': result.config.to_dict(), 'measured': result.figures})}


def card(result):
  """The text of the card."""
  config = result.config
  rows = '\n'.join(f'| {name} | {x["kind"]:.1%} | {x["side"]:.1%} | {x["gap_deg"]:.1f} deg |'
                   for name, x in result.figures.items())
  return CARD.format(
      count=tree.count(result.params), **config.net, steps=config.train.steps,
      batch=config.train.batch, devices=parallel.device_count(), seed=config.seed,
      pictures=config.test.count, rows=rows)


NET = ship.Net('features', default_config, init, loss, measure, card, ship.adamw, files)

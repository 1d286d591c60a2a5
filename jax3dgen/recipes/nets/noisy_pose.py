"""The classifier of poses in noisy pictures of the embedded prior, with the true poses for labels.

It draws its own pictures and noise. Axes: P pictures of this device and B = P N rows, N noises of
each picture.
"""

import functools

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from jax3dgen.core import parallel, rng, tree
from jax3dgen.data import figurine_views
from jax3dgen.nn import noisy_pose as nets
from jax3dgen.perception import noisy_pose
from jax3dgen.prior import base as priors
from jax3dgen.prior import embedded
from jax3dgen.recipes.nets import ship

CHUNK = 200  # pictures per compiled call of `measure`
LEVELS = (0.0, 0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.96)  # noise levels that are measured

CARD = """# The classifier of poses in noisy pictures

A small convolutional net, {count:,} parameters, float16 on disk, that classifies x_t of the
embedded prior (32 x 32 pixels) at its noise level t as front, left, back or right. With it a
rectifier needs no Jacobian of the denoiser (`config.distill.classifier=noisy_pose`,
`config.distill.sees=noisy`).

- licence: Apache-2.0, as the project
- data: none fetched; pictures of `jax3dgen.data.figurines` drawn while training, all kinds, colours
  and azimuths equally often, noised by the schedule of the embedded prior, t uniform in its safe
  range
- labels: the true poses. They hold far more than template pictures, and no real prior has them
- command: `python -m experiments.train_net --config configs/nets/noisy_pose.py \
--workdir runs/noisy_pose`
- {steps} steps of {batch} pictures, {noises} noises of each, on {devices} devices, seed {seed},
  averaged weights; the config is in config.json

## Held-out views ({pictures:,} fresh draws of the same world, the same at each noise level)

Poses are sectors of 90 degrees: a view near a border is ambiguous, its plain accuracy is given;
chance is 25 %. The confidence is the mean of the largest probability: where it is the accuracy, the
classifier is calibrated. The log loss is in nats; that of chance is 1.386.

| t | accuracy | confidence | log loss |
|---|---|---|---|
{rows}

## Limits

It knows this procedural world, this schedule and white backgrounds, and nothing else: renders of a
radiance field that is not yet a figurine are unlike what it was trained on, at small t above all.
An object that is optimised against it can fool it, so it must not measure what was
optimised against it.
"""


def default_config():
  """A locked ConfigDict; the defaults made the shipped weights."""
  c = ship.default_config()
  c.name = 'noisy_pose'

  c.net = ConfigDict()
  c.net.channels = (24, 40, 56)  # channels at 16, 8 and 4 pixels
  c.net.embedding = 64  # width of the embedding of the noise level

  c.views = figurine_views.default_config().views

  c.optim.ema = 0.995
  c.train.steps = 1500
  c.train.batch = 48
  c.train.noises = 2  # noise levels and noises of each picture

  c.test = ConfigDict()
  c.test.count = 4000  # held-out pictures, at every noise level
  return c.lock()


def network(cfg):
  """The net of the config."""
  return nets.NoisyPose(tuple(cfg.net.channels), cfg.net.embedding, len(noisy_pose.POSES))


def init(cfg):
  """New parameters."""
  return jax.jit(lambda key: nets.init(key, network(cfg)))(jax.random.key(cfg.seed))


def pictures(key, count, views):
  """(images [count, 32, 32, 3], poses [count]) of as many figurines (even), azimuths uniform."""
  images, _, camera = figurine_views.pictures(key, count, count, views)
  return images, pose_of(camera.azimuth)


def pose_of(azimuth):
  """Index into `noisy_pose.POSES` of azimuths [...] (radians): four sectors centred on the axes."""
  return jnp.floor(azimuth / (np.pi / 2) + 0.5).astype(jnp.int32) % 4


def noisy_images(key, images, t):
  """images [B, H, W, 3] in [0, 1] as decoded x_t of the embedded prior at t [B]: they leave [0, 1].
  """
  x_t = priors.add_noise(embedded.SCHEDULE, 2.0 * images - 1.0, t,
                         jax.random.normal(key, images.shape))
  return 0.5 * (x_t + 1.0)


def objective(net, params, key, images, pose, noises):
  """(loss [], its terms): cross entropy of the poses [P] of images [P, ...], each with N noises.

  t is uniform in the prior's safe range, so that the best net is p(pose | x_t) at every t.
  """
  images, pose = (jnp.concatenate([x] * noises) for x in (images, pose))
  low, high = embedded.SCHEDULE.safe_range
  t = jax.random.uniform(rng.stream(key, 'level'), pose.shape, minval=low, maxval=high)
  noisy = noisy_images(rng.stream(key, 'noise'), images, t)
  logits = noisy_pose.logits(net, params, noisy, t)
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, pose).mean()
  return loss, {'accuracy': (logits.argmax(-1) == pose).mean()}


def loss(cfg, count, axis_name=None):
  """The loss of fresh pictures on one of `count` devices (see `ship.Net`)."""
  net, batch = network(cfg), ship.even_share(cfg, count)

  def of_pictures(params, key):
    images, pose = pictures(rng.stream(key, 'pictures'), batch, cfg.views)
    return objective(net, params, key, images, pose, cfg.train.noises)
  return of_pictures


@functools.partial(jax.jit, static_argnames=('views',))
def probabilities(params, key, views):
  """(p [LEVELS, CHUNK, 4], poses [CHUNK]) of held-out pictures, the same ones at each level."""
  images, pose = pictures(rng.stream(key, 'pictures'), CHUNK, views)
  t = jnp.repeat(jnp.array(LEVELS), CHUNK)
  noisy = noisy_images(rng.stream(key, 'noise'), jnp.concatenate([images] * len(LEVELS)), t)
  p = noisy_pose.classify(params, noisy, t, None)
  return p.reshape(len(LEVELS), CHUNK, -1), pose


def measure(params, cfg):
  """The rows of `figures` on held-out views."""
  keys = jax.random.split(jax.random.key(ship.HELD_OUT), -(-cfg.test.count // CHUNK))
  parts = [probabilities(params, key, cfg.views) for key in keys]
  return figures(np.concatenate([p for p, _ in parts], 1), np.concatenate([x for _, x in parts]))


def figures(p, pose):
  """Rows {'t', 'accuracy', 'confidence', 'log_loss'}, one per level of LEVELS.

  p [LEVELS, N, 4] are probabilities of the poses of pictures whose poses are [N]. confidence is the
  mean of the largest probability: of a calibrated classifier, its accuracy. A view near a border of
  two poses is ambiguous; it counts like any other.
  """
  true = np.take_along_axis(p, pose[None, :, None], -1)[..., 0]
  return [{'t': t, 'accuracy': float((p[i].argmax(-1) == pose).mean()),
           'confidence': float(p[i].max(-1).mean()), 'log_loss': float(-np.log(true[i]).mean())}
          for i, t in enumerate(LEVELS)]


def card(result):
  """The text of the card."""
  config = result.config
  rows = '\n'.join(f'| {row["t"]:g} | {row["accuracy"]:.1%} | {row["confidence"]:.1%} | '
                   f'{row["log_loss"]:.3f} |' for row in result.figures)
  return CARD.format(
      count=tree.count(result.params), steps=config.train.steps, batch=config.train.batch,
      noises=config.train.noises, devices=parallel.device_count(), seed=config.seed,
      pictures=config.test.count, rows=rows)


NET = ship.Net('noisy pose', default_config, init, loss, measure, card)

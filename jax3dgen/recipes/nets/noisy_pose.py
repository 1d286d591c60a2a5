"""Training the classifier of poses in noisy pictures in one call.

`run(config, workdir)` is what `python -m experiments.train_noisy_pose` calls. Calling it again
resumes from the newest whole checkpoint; a run whose steps are done measures and writes its weights
again.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict
import numpy as np

from jax3dgen.core import parallel, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_views
from jax3dgen.perception import noisy_pose
from jax3dgen.recipes.nets import (
  noisy_pose_assets,
  noisy_pose_step,
  referee_step,
  small_nets,
)
from jax3dgen.train import workdir as workdirs

HELD_OUT = 2**31 - 1  # seed of the pictures that measure; training seeds are small
CHUNK = 200  # pictures looked at together
LEVELS = (0.0, 0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.96)  # noise levels that are measured


def default_config():
  """A locked ConfigDict; the comment behind a field is its help text. It made the shipped weights.
  """
  c = ConfigDict()
  c.seed = 0  # seeds the initial weights, every picture and every noise

  c.net = ConfigDict()
  c.net.channels = (24, 40, 56)  # channels at 16, 8 and 4 pixels
  c.net.embedding = 64  # width of what the noise level becomes

  c.views = figurine_views.default_config().views

  c.optim = ConfigDict()
  c.optim.rate = 2e-3  # Adam's largest learning rate
  c.optim.b2 = 0.99  # Adam's second-moment decay
  c.optim.warmup = 100  # steps of rising learning rate; then it falls to 0 as a cosine
  c.optim.clip = 1.0  # bound of the global gradient norm
  c.optim.ema = 0.995  # decay of the averaged weights that are shipped

  c.train = ConfigDict()
  c.train.steps = 1500  # optimisation steps; the learning rate is scheduled over them
  c.train.batch = 48  # pictures per step, over all devices together
  c.train.noises = 2  # noise levels and noises of each picture
  c.train.max_skipped = 20  # stop after this many non-finite gradients in a row

  c.test = ConfigDict()
  c.test.count = 4000  # held-out pictures, at every noise level

  c.log = ConfigDict()
  c.log.every = 20  # steps between rows of metrics.csv

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 250  # steps between checkpoints
  c.checkpoint.keep = 2  # newest checkpoints that are kept
  return c.lock()


def run(config, workdir, allow_change=False):
  """Trains into `workdir` and returns the folder of weights, `workdir`/weights."""
  parallel.initialize()
  workdir, cfg = pathlib.Path(workdir), FrozenConfigDict(config)
  count = parallel.device_count()
  if cfg.train.batch % (2 * count):
    raise ConfigError(f'config.train.batch={cfg.train.batch} must be a multiple of {2 * count}: an '
                      f'even number of pictures for each of {count} devices.')
  net, tx = noisy_pose_step.network(cfg), referee_step.optimiser(cfg)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    state = small_nets.trained(
        config, workdir, noisy_pose_step.init_state(jax.random.key(cfg.seed), net, tx),
        noisy_pose_step.make_step(net, tx, cfg, count, parallel.AXIS), 'noisy poses')
    if parallel.is_main():
      params = small_nets.as_shipped(state.ema)
      noisy_pose_assets.write(workdir / 'weights', params, measure(params, cfg), config,
                              workdir / 'metrics.csv')
  return workdir / 'weights'


@functools.partial(jax.jit, static_argnames=('views',))
def _judged(params, key, views):
  """(p [LEVELS, CHUNK, 4], poses [CHUNK]) of held-out pictures, the same ones at each level."""
  images, pose = noisy_pose_step.pictures(rng.stream(key, 'pictures'), CHUNK, views)
  t = jnp.repeat(jnp.array(LEVELS), CHUNK)
  seen = noisy_pose_step.noised(rng.stream(key, 'noise'),
                                jnp.concatenate([images] * len(LEVELS)), t)
  p = noisy_pose.classify(params, seen, t, None)
  return p.reshape(len(LEVELS), CHUNK, -1), pose


def measure(params, cfg):
  """Rows {'t', 'accuracy', 'confidence', 'log_loss'}, one per level of LEVELS, on held-out views.

  confidence is the mean of the largest probability: of a calibrated classifier, its accuracy. A
  view near a border of two poses is ambiguous, its plain accuracy is given.
  """
  keys = jax.random.split(jax.random.key(HELD_OUT), -(-cfg.test.count // CHUNK))
  parts = [_judged(params, key, cfg.views) for key in keys]
  p = np.concatenate([part[0] for part in parts], 1)
  pose = np.concatenate([part[1] for part in parts])
  own = np.take_along_axis(p, pose[None, :, None], -1)[..., 0]
  return [{'t': t, 'accuracy': float((p[i].argmax(-1) == pose).mean()),
           'confidence': float(p[i].max(-1).mean()), 'log_loss': float(-np.log(own[i]).mean())}
          for i, t in enumerate(LEVELS)]

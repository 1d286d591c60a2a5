"""Training the features in one call.

`run(config, workdir)` is what `python -m experiments.train_features` calls. Calling it again
resumes from the newest whole checkpoint; a run whose steps are done measures and writes its weights
again.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import parallel, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_views
from jax3dgen.formats import features
from jax3dgen.recipes.nets import features_assets, features_config, features_step, small_nets
from jax3dgen.train import workdir as workdirs

default_config = features_config.default_config
HELD_OUT = 2**31 - 1  # seed of the pictures that measure; training seeds are small
CHUNK = 200  # pictures looked at together
GAP_DEG = 45.0  # a neighbour within this shows the same side


def run(config, workdir, allow_change=False):
  """Trains into `workdir` and returns the folder of weights, `workdir`/weights."""
  parallel.initialize()
  workdir, cfg = pathlib.Path(workdir), FrozenConfigDict(config)
  count = parallel.device_count()
  if cfg.train.figurines % (2 * count) or cfg.train.batch % cfg.train.figurines:
    raise ConfigError(f'config.train.figurines={cfg.train.figurines} must be a multiple of '
                      f'{2 * count}, an even number for each of {count} devices, and '
                      f'config.train.batch={cfg.train.batch} a multiple of it.')
  if features.SIZE % cfg.net.patch or cfg.net.width % cfg.net.heads:
    raise ConfigError(f'config.net.patch={cfg.net.patch} must divide {features.SIZE}, and '
                      f'config.net.heads={cfg.net.heads} must divide config.net.width='
                      f'{cfg.net.width}.')
  net, tx = features_step.network(cfg), features_step.optimiser(cfg)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    state = features_step.init_state(jax.random.key(cfg.seed), net, tx)
    step = features_step.make_step(net, tx, cfg, count, parallel.AXIS)
    state = small_nets.trained(config, workdir, state, step, 'features')
    if parallel.is_main():
      params = small_nets.as_shipped(state.ema)
      features_assets.write(workdir / 'weights', net, params, measure(net, params, cfg), config,
                            workdir / 'metrics.csv')
  return workdir / 'weights'


@functools.partial(jax.jit, static_argnames=('net', 'views', 'strength'))
def _tokens(net, params, key, views, strength):
  """(class tokens [CHUNK, C] of unit length, kinds and azimuths [CHUNK]) of held-out pictures."""
  k_draw, k_amounts, k_grain = jax.random.split(key, 3)
  images, figurine, camera = figurine_views.pictures(k_draw, CHUNK, CHUNK, views)
  images = figurine_views.spoil(
      jax.random.uniform(k_amounts, (CHUNK, figurine_views.DRAWS)),
      jax.random.normal(k_grain, images.shape[:3] + (4,)), images, strength)
  token, _ = features.small(net)(params, images)
  return features_step.unit(token), figurine.kind, camera.azimuth


def measure(net, params, cfg):
  """{'clean', 'spoilt': {'kind', 'side', 'gap_deg'}} of the nearest neighbours of held-out views.

  Each picture's likest other one by class token: how often of the same kind, how often of that and
  within GAP_DEG of azimuth, and the median gap. Here alone kinds and azimuths are looked at.
  """
  found = {}
  for name, strength in (('clean', 0.0), ('spoilt', cfg.augment.strength)):
    keys = jax.random.split(rng.stream(jax.random.key(HELD_OUT), name), -(-cfg.test.count // CHUNK))
    parts = [_tokens(net, params, key, cfg.views, strength) for key in keys]
    found[name] = neighbours(*(np.concatenate(x) for x in zip(*parts, strict=True)))
  return found


def neighbours(token, kind, azimuth):
  """The figures of `measure` for unit tokens [N, C], kinds [N] and azimuths [N] (radians)."""
  like = token @ token.T
  np.fill_diagonal(like, -np.inf)
  nearest = like.argmax(-1)
  gap = np.rad2deg(np.abs(cameras.wrap(jnp.asarray(azimuth - azimuth[nearest]))))
  same = kind == kind[nearest]
  return {'kind': float(same.mean()), 'side': float((same & (gap <= GAP_DEG)).mean()),
          'gap_deg': float(np.median(gap[same])) if same.any() else 180.0}

"""Training the referee in one call.

`run(config, workdir)` is what `python -m experiments.train_referee` calls. Calling it again resumes
from the newest whole checkpoint; a run whose steps are done measures and writes its weights again.
"""

import pathlib

import jax
from ml_collections import FrozenConfigDict

from jax3dgen.core import parallel, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurines
from jax3dgen.metrics import referee
from jax3dgen.recipes.nets import (
  referee_assets,
  referee_checks,
  referee_config,
  referee_step,
  small_nets,
)
from jax3dgen.train import workdir as workdirs

default_config = referee_config.default_config
HELD_OUT = 2**31 - 1  # seed of the pictures that measure; training seeds are small


def run(config, workdir, allow_change=False):
  """Trains into `workdir` and returns the folder of weights, `workdir`/weights."""
  parallel.initialize()
  workdir, cfg = pathlib.Path(workdir), FrozenConfigDict(config)
  count = parallel.device_count()
  if cfg.train.batch % (2 * count):
    raise ConfigError(f'config.train.batch={cfg.train.batch} must be a multiple of {2 * count}: an '
                      f'even number of pictures for each of {count} devices.')
  net, tx = referee_step.network(cfg), referee_step.optimiser(cfg)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    state = referee_step.init_state(jax.random.key(cfg.seed), net, tx)
    step = referee_step.make_step(net, tx, cfg, count, parallel.AXIS)
    state = small_nets.trained(config, workdir, state, step, 'referee')
    if parallel.is_main():
      params = small_nets.as_shipped(state.ema)
      labels, measured = measure(params, cfg)
      referee_assets.write(workdir / 'weights', params, labels, measured, config,
                           workdir / 'metrics.csv')
  return workdir / 'weights'


def measure(params, cfg):
  """(Labels with the measured face arcs, {'clean', 'degraded', 'rejected', 'strips'})."""
  key = jax.random.key(HELD_OUT)
  strips = referee_checks.strips(params, cfg.views)
  labels = referee.Labels(tuple(figurines.KINDS), tuple(figurines.COLORS), referee.REJECT,
                          referee_checks.face_arcs(strips), cfg.views.face_share)
  held_out = lambda name, strength: referee_checks.accuracy(
      params, rng.stream(key, name), cfg.views, cfg.test.count, strength)
  return labels, {
      'clean': held_out('clean', 0.0), 'degraded': held_out('degraded', cfg.data.strength),
      'rejected': referee_checks.reject_rates(params, rng.stream(key, 'rejected'), cfg.views,
                                              cfg.test.rejects),
      'strips': referee_checks.figures_of_strips(strips, labels)}

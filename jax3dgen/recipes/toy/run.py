"""Toy studies of the objectives, on priors whose score is exact: a page with tables and pictures.

`run(config, workdir)` is what `python -m experiments.toy` calls. Each study is a module of this
folder with `study(config, report) -> (figures, Figure)` and `section(config, figures) -> lines`.
"""

import json
import time

from matplotlib import rc_context
from ml_collections import ConfigDict

from jax3dgen.core import files
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.toy import bounds as toy_bounds
from jax3dgen.recipes.toy import esd as toy_esd
from jax3dgen.recipes.toy import jsd as toy_jsd
from jax3dgen.recipes.toy import modes as toy_modes
from jax3dgen.recipes.toy import poses as toy_poses

STUDIES = {  # name -> (module, heading)
    'jsd_eight_gaussians': (toy_jsd, 'Control variates and modes of JSD'),
    'rectified_marginal': (toy_poses, 'What the rectifier does to the frequency of poses'),
    'esd_gaussian_fit': (toy_esd, 'A Gaussian under ESD'),
    'mode_coverage': (toy_modes, 'Which modes each objective reaches'),
    'divergence_bounds': (toy_bounds, 'The divergences and their bounds'),
}


def default_config():
  """A locked ConfigDict of all studies; an unknown field raises."""
  c = ConfigDict()
  c.study = 'all'  # all, or the name of one study
  c.seed = 0  # of every study

  c.network = ConfigDict()  # the small network of jsd_eight_gaussians
  c.network.steps = 6000  # training steps
  c.network.batch = 512  # points per step
  c.network.width = 96  # of its three layers
  c.network.rate = 3e-3  # first learning rate, falling as a cosine
  c.network.dropout = 0.2  # share of the points without their class
  c.network.particles = 100  # moved under the network, in place of jsd.particles

  c.jsd = ConfigDict()  # jsd_eight_gaussians
  c.jsd.particles = 1000  # seeds from the one start
  c.jsd.steps = 400  # of Adam
  c.jsd.rate = 0.05  # of Adam
  c.jsd.high = 0.98  # noise level of the first step
  c.jsd.low = 0.25  # of the last one
  c.jsd.start = (0.0, 0.0)  # of all particles
  c.jsd.guidance = (1.0, 13.5)  # scales that are tried
  c.jsd.forms = tuple(toy_jsd.FORMS)  # forms of the objective, by name

  c.poses = ConfigDict()  # rectified_marginal
  c.poses.particles = 128  # of a run
  c.poses.seeds = 8  # runs
  c.poses.steps = 500  # of Adam
  c.poses.rate = 0.05  # of Adam
  c.poses.weights = (0.7, 0.1, 0.1, 0.1)  # of front, left, back, right in the prior
  c.poses.scales = (1.0, 100.0)  # of the rectifier
  c.poses.levels = ('mixed', 'high', 'low')  # ranges of the noise level beside the falling one
  c.poses.clamp = 1.0  # of the rectifier's norm, over the objective's
  c.poses.n_ema = 5  # steps whose renders carry 90 percent of an average
  c.poses.classifier_level = 0.3  # noise level of the posterior that classifies clean estimates

  c.esd = ConfigDict()  # esd_gaussian_fit
  c.esd.abar = 0.6  # alpha^2 of the noise level
  c.esd.steps = 1500  # of Adam
  c.esd.batch = 1024  # samples per step
  c.esd.rate = 0.02  # first learning rate, falling as a cosine
  c.esd.seeds = 4  # runs
  c.esd.entropies = (0.0, 0.2, 0.5, 1.0)  # lambdas

  c.modes = ConfigDict()  # mode_coverage
  c.modes.particles = 500  # from a broad start
  c.modes.steps = 400  # of Adam
  c.modes.rate = 0.05  # of Adam
  c.modes.high = 0.98  # noise level of the first step
  c.modes.low = 0.02  # of the last one
  c.modes.objectives = toy_modes.NAMES  # by name

  c.bounds = ConfigDict()  # divergence_bounds
  c.bounds.points = 81  # of the curves
  return c.lock()


def check(config):
  """ConfigError for an unknown study or an invalid number."""
  if config.study not in ('all', *STUDIES):
    raise ConfigError(f'config.study={config.study!r} is none of all, {", ".join(STUDIES)}.')
  for section in ('network', 'jsd', 'poses', 'esd', 'modes'):
    for name in ('particles', 'steps', 'batch', 'seeds', 'n_ema', 'width'):
      if config[section].get(name, 2) < (2 if name in ('particles', 'seeds') else 1):
        raise ConfigError(f'config.{section}.{name}={config[section][name]} is too small.')
  if config.bounds.points < 2:
    raise ConfigError(f'config.bounds.points={config.bounds.points} is too small.')
  if len(config.poses.weights) != 4 or min(config.poses.weights) <= 0:
    raise ConfigError('config.poses.weights are four positive numbers.')
  for section, name in (('jsd', 'guidance'), ('esd', 'entropies'), ('poses', 'scales')):
    if not config[section][name]:
      raise ConfigError(f'config.{section}.{name} needs a value.')
  for field, value, names in (('jsd.forms', config.jsd.forms, toy_jsd.FORMS),
                              ('modes.objectives', config.modes.objectives, toy_modes.NAMES),
                              ('poses.levels', config.poses.levels, toy_poses.RANGES)):
    wrong = [name for name in value if name not in names]
    if wrong or (not value and field != 'poses.levels'):
      raise ConfigError(f'config.{field}={tuple(value)!r} is not of {", ".join(names)}.')


def run(config, workdir, command='', report=print):
  """Runs the studies that config.study names; writes toy.md, toy.json and toy_STUDY.png.

  Returns {study: figures}. Page and figures are written after each study.
  """
  check(config)
  names = list(STUDIES) if config.study == 'all' else [config.study]
  lines, figures = ['# Toy studies', '', f'`{command}`'], {}
  for name in names:
    began = time.monotonic()
    module, heading = STUDIES[name]
    with rc_context({'font.size': 8}):
      figures[name], figure = module.study(config, report)
      with files.replacing(workdir / f'toy_{name}.png') as beside:
        figure.savefig(beside, format='png', dpi=100)
    report(f'{name}: {time.monotonic() - began:.0f} s.')
    lines += ['', f'## {heading}', '', *module.section(config, figures[name]), '',
              f'![{heading}](toy_{name}.png)']
    with files.replacing(workdir / 'toy.json') as beside:
      beside.write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')
    with files.replacing(workdir / 'toy.md') as beside:
      beside.write_text('\n'.join(lines) + '\n', encoding='utf-8')
  return figures

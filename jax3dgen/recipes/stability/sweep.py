"""Stability sweep: mesh files released upright and tilted under physics engines; tables, a page.

`run(config, paths, workdir)` is what `python -m experiments.stability_sweep` calls. The results are
deterministic in the files and the config, but for the seconds.
"""

from concurrent import futures
import importlib.util
import math
import os
import time
from typing import NamedTuple
import warnings

import jax
import numpy as np
import tqdm

from jax3dgen.core import machine
from jax3dgen.core.errors import ConfigError
from jax3dgen.export import rollouts, sweep_page, sweep_tables
from jax3dgen.metrics import stability as metrics
from jax3dgen.physics import body, normalize, rest, sweep

CHOICES = {'up': ('auto', 'y', 'z'), 'normalize': normalize.MODES,
           'inertia': ('exact', 'mujoco_legacy'), 'engine': (*sweep.ENGINES, 'all')}
POSITIVE = ('density', 'seconds', 'threshold_deg')
READERS = 4  # files read at once, at most: one of two million faces may take 2 GB
_margin = jax.jit(rest.margin)


class Sweep(NamedTuple):
  """items: [sweep_tables.Item] in the order of the paths; tilts [P, 3]; results: {engine:
  sweep.Result} of the items without an error; rows: {engine: rows of results.csv}."""
  items: list
  tilts: np.ndarray
  results: dict
  rows: dict


def check(config):
  """ConfigError for the first field with an invalid value."""
  for name, choices in CHOICES.items():
    if config[name] not in choices:
      raise ConfigError(f'config.{name}={config[name]!r}: it is one of {", ".join(choices)}.')
  for name in POSITIVE:
    if not 0 < config[name] < math.inf:
      raise ConfigError(f'config.{name}={config[name]} must be positive.')
  for name, least in (('timestep', 0), ('friction', 0), ('hull_vertices', 8),
                      ('rollouts', 0)):
    if not least <= config[name] < math.inf:
      raise ConfigError(f'config.{name}={config[name]} must be at least {least}.')
  if config.tilts.n < 0 or not 0 <= config.tilts.max_deg <= 90:
    raise ConfigError('config.tilts: n is at least 0, and max_deg between 0 and 90.')


def engine_names(name):
  """The engines of config.engine; 'all' includes brax's only where it is installed."""
  if name != 'all':
    return (name,)
  brax = importlib.util.find_spec('brax') is not None
  return tuple(e for e in sweep.ENGINES if brax or not e.startswith('brax'))


def run(config, paths, workdir, command=''):
  """Sweeps the mesh files `paths` as `config` says; writes into `workdir` and returns a `Sweep`."""
  items = read(config, paths)
  bodies = body.pack([item.body for item in items if not item.error], config.hull_vertices)
  tilts = sweep.tilts(config.tilts.n, config.tilts.max_deg, jax.random.key(config.tilts.seed))
  results, rows, runs, rates = {}, {}, [], {}
  margins = _margins_deg(bodies)
  for engine in engine_names(config.engine):
    began = time.monotonic()
    result = sweep.run(bodies, tilts, engine, config.seconds, config.timestep,
                       config.threshold_deg, config.friction) if bodies.items else None
    seconds = time.monotonic() - began
    results[engine] = result
    rows[engine] = sweep_tables.rows(items, engine, result, margins, seconds)
    if bodies.items:
      runs += sweep_tables.run_rows(items, engine, result, tilts)
      judged = result.stable[result.errors == '']
      table = metrics.by_max_tilt(judged, tilts) if len(judged) else ((), (), ())
      rates[engine] = {float(most): float(rate) for most, rate, count in zip(*table, strict=True)
                       if count}
  sweep_tables.write_csv(workdir / 'runs.csv', sweep_tables.RUNS, runs)
  first = next(iter(results.values()))
  pages = (rollouts.write_pages(workdir, paths, items, first, tilts, config, command) if first else
           {})
  sweep_page.write_page(workdir / 'report.html', items, rows, tilts, results, rates,
                        config.to_dict(), command, pages)
  sweep_tables.write_csv(workdir / 'results.csv', sweep_tables.RESULTS,
                         [row for table in rows.values() for row in table])
  return Sweep(items, tilts, results, rows)


def read(config, paths):
  """[Item] of the mesh files in their order, a few of them read at the same time."""
  root = os.path.commonpath([os.path.dirname(os.path.abspath(p)) for p in paths])
  examine = lambda path: sweep_tables.examine(
      path, sweep_tables.name_of(path, root), config.up, config.normalize, config.inertia,
      config.density)
  threads = min(READERS, machine.cores())
  # Readers silence warnings each for themselves, which threads undo for one another.
  with warnings.catch_warnings(), futures.ThreadPoolExecutor(threads) as pool:
    warnings.simplefilter('ignore')
    return list(tqdm.tqdm(pool.map(examine, paths), 'reading', len(paths), disable=None))


def _margins_deg(bodies):
  """The settled stability margin [M] in degrees of each body, released upright."""
  margins = np.zeros(len(bodies.items))
  for index, packed in bodies.buckets:
    packed = jax.tree.map(lambda x: np.asarray(x, np.float32), packed)
    margins[index] = np.rad2deg(_margin(packed, np.zeros((1, 3), np.float32))[:, 0])
  return margins

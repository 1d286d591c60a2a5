"""Stability sweep: mesh files released upright and tilted under physics engines; tables, a page.

`run(config, paths, workdir)` is what `python -m experiments.stability_sweep` calls. The results are
deterministic in the files and the config, but for the seconds. Files are judged in blocks, which a
repeated run takes from the workdir (`blocks`), so that it goes on where it was stopped.
"""

from concurrent import futures
import importlib.util
import math
import os
import time
from typing import NamedTuple
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import machine
from jax3dgen.core.errors import ConfigError
from jax3dgen.export import mesh_io, rollouts, sweep_page, sweep_tables
from jax3dgen.metrics import stability as metrics
from jax3dgen.physics import body, normalize, rest, sweep
from jax3dgen.recipes.stability import blocks
from jax3dgen.train import log
from jax3dgen.train import stop as stops

CHOICES = {'up': ('auto', 'y', 'z'), 'normalize': normalize.MODES,
           'inertia': ('exact', 'mujoco_legacy'), 'engine': (*sweep.ENGINES, 'all')}
POSITIVE = ('density', 'seconds', 'threshold_deg')
READERS = 4  # files read at once, at most: one of two million faces may take 2 GB
FILES = {'native': 16}  # of a block, which takes seconds
BATCHED = 64  # files of a block for the other engines, which judge many bodies at once
LEAST = 16  # bodies of a batch, so that few sizes are compiled
AXIS_FREE = ('.obj', '.off', '.ply', '.stl')  # formats that do not say which axis is up


@jax.jit
def _margins(packed):
  """Settled margins [B, 2] in radians of bodies released with z up and with y up."""
  turn = mesh_io.Y_TO_Z
  turned = packed.replace(hull=packed.hull @ turn.T, inertia=turn @ packed.inertia @ turn.T)
  both = jax.tree.map(lambda *x: jnp.concatenate(x), packed, turned)
  return rest.margin(both, jnp.zeros((1, 3), jnp.float32))[:, 0].reshape(2, -1).T


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
  """Sweeps the mesh files `paths` as `config` says; writes into `workdir` and returns a `Sweep`.

  results.csv grows by the rows of each block. SIGTERM and SIGINT end the run after the current
  block by SystemExit with the status of the signal.
  """
  tilts = sweep.tilts(config.tilts.n, config.tilts.max_deg, jax.random.key(config.tilts.seed))
  engines = engine_names(config.engine)
  done = _judged(config, paths, workdir, engines, tilts)
  items = [item for block in done for item in block.items]
  results, rows, runs, rates = {}, {}, [], {}
  for engine in engines:
    parts = [block.results[engine] for block in done if block.results[engine]]
    result = results[engine] = sweep.Result(*map(np.concatenate, zip(*parts))) if parts else None
    rows[engine] = [row for block in done for row in _rows(block, engine)]
    if result:
      runs += sweep_tables.run_rows(items, engine, result, tilts)
      judged = result.stable[result.errors == '']
      table = metrics.by_max_tilt(judged, tilts) if len(judged) else ((), (), ())
      rates[engine] = {float(most): float(rate) for most, rate, count in zip(*table, strict=True)
                       if count}
  sweep_tables.write_csv(workdir / 'runs.csv', sweep_tables.RUNS, runs)
  first = results[engines[0]]
  pages = rollouts.write_pages(workdir, items, first, tilts, config, command) if first else {}
  sweep_page.write_page(workdir / 'report.html', items, rows, tilts, results, rates,
                        config.to_dict(), command, pages)
  sweep_tables.write_csv(workdir / 'results.csv', sweep_tables.RESULTS,
                         [row for table in rows.values() for row in table])
  return Sweep(items, tilts, results, rows)


def _judged(config, paths, workdir, engines, tilts):
  """The [blocks.Block] of the files, from the workdir as far as they are there."""
  size = FILES.get(config.engine, BATCHED)
  root = os.path.commonpath([os.path.dirname(os.path.abspath(p)) for p in paths])
  shares = [paths[k:k + size] for k in range(0, len(paths), size)]
  places = [workdir / 'blocks' / f'{k:05}' for k in range(len(shares))]
  keys = [blocks.key(config, share) for share in shares]
  done = [blocks.load(place, key) for place, key in zip(places, keys, strict=True)]
  ready = sum(len(share) for share, block in zip(shares, done, strict=True) if block)
  table = workdir / 'results.csv'
  sweep_tables.write_csv(table, sweep_tables.RESULTS, [
      row for block in done if block for engine in engines for row in _rows(block, engine)])
  progress = log.Progress(ready, len(paths), 'judged', 'files')
  with stops.Preemption() as preemption, progress:
    if ready:
      progress.say(f'{ready} of {len(paths)} files are judged already.')
    for k, share in enumerate(shares):
      if done[k]:
        continue
      done[k] = _judge(config, share, root, engines, tilts)
      blocks.save(places[k], done[k], keys[k])
      sweep_tables.append_csv(table, sweep_tables.RESULTS, [
          row for engine in engines for row in _rows(done[k], engine)])
      ready += len(share)
      progress.advance(len(share))
      rates = [r.stable.mean() for r in done[k].results.values() if r]
      progress.show(ready, {'stand': np.mean(rates)} if rates else {})
      if preemption.requested(k) and ready < len(paths):
        progress.say(f'Stopped by a signal after {ready} of {len(paths)} files, whose rows are '
                     'kept; the same command goes on.')
        raise SystemExit(preemption.status)
  return done


def _judge(config, paths, root, engines, tilts):
  """The blocks.Block of these files."""
  items = read(config, paths, root)
  bodies = body.pack([item.body for item in items if not item.error], config.hull_vertices)
  margins = _margins_deg(bodies)
  results, seconds = {}, {}
  for engine in engines:
    began = time.monotonic()
    results[engine] = sweep.run(
        bodies, tilts, engine, config.seconds, config.timestep, config.threshold_deg,
        config.friction, LEAST) if bodies.items else None
    seconds[engine] = time.monotonic() - began
  if config.up == 'auto':
    items = _with_hints(items, margins)
  return blocks.Block(items, margins[:, 0], results, seconds)


def _rows(block, engine):
  return sweep_tables.rows(block.items, engine, block.results[engine], block.margins_deg,
                           block.seconds[engine])


def _with_hints(items, margins_deg):
  """Items with the note `up=y?` where the file states no axis, and the settled body stands upright
  with one of z and y up and falls with the other: margins_deg [M, 2]."""
  stands, result = iter(margins_deg > 0), []
  for item in items:
    if not item.error:
      z, y = next(stands)
      if y != z and item.path.lower().endswith(AXIS_FREE):
        hint = f'up=y? (with y up it {"stands" if y else "falls"})'
        item = item._replace(note='; '.join(filter(None, [item.note, hint])))
    result.append(item)
  return result


def read(config, paths, root):
  """[Item] of the mesh files in their order, a few of them read at the same time; their names are
  relative to the folder `root`."""
  examine = lambda path: sweep_tables.examine(
      path, sweep_tables.name_of(path, root), config.up, config.normalize, config.inertia,
      config.density)
  threads = min(READERS, machine.cores())
  # Readers silence warnings each for themselves, which threads undo for one another.
  with warnings.catch_warnings(), futures.ThreadPoolExecutor(threads) as pool:
    warnings.simplefilter('ignore')
    return [item for items in pool.map(examine, paths) for item in items]


def _margins_deg(bodies):
  """The settled stability margins [M, 2] in degrees of each body, released with z up and y up."""
  margins = np.zeros((len(bodies.items), 2))
  for index, packed in bodies.buckets:
    for start in range(0, len(index), LEAST):  # repeats fill the last call
      rows = np.arange(start, start + LEAST).clip(max=len(index) - 1)
      part = jax.tree.map(lambda x, rows=rows: np.asarray(x, np.float32)[rows], packed)
      margins[index[rows]] = np.rad2deg(_margins(part))
  return margins

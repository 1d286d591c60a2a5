"""Agreement of the physics engines on random solids, upright and tilted, against C MuJoCo.

The reference is `native` at 1 ms. A label is robust where it is the same at 2 ms and under four
nudges of 2 mrad: where C MuJoCo disagrees with itself, no engine can agree with it.
"""

import time

import jax
import numpy as np

from jax3dgen.core.errors import ConfigError
from jax3dgen.data import solids
from jax3dgen.export import markdown
from jax3dgen.metrics import stability
from jax3dgen.physics import body, sweep

NUDGE = 2e-3  # radians


def check(config):
  """ConfigError for the first field with an invalid value."""
  for name, least in (('solids', 1), ('first_seed', 0), ('hull_vertices', 8)):
    if config[name] < least:
      raise ConfigError(f'config.{name}={config[name]} must be at least {least}.')
  if config.engine not in (*sweep.ENGINES, 'all'):
    raise ConfigError(f'config.engine={config.engine!r}: it is one of {", ".join(sweep.ENGINES)}, '
                      'all.')
  if not 0 < config.seconds < float('inf'):
    raise ConfigError(f'config.seconds={config.seconds} must be positive.')
  if config.tilts.n < 0 or not 0 <= config.tilts.max_deg <= 90:
    raise ConfigError('config.tilts: n is at least 0, and max_deg between 0 and 90.')


def study(config, engines, report=print):
  """{'kinds' [M], 'tilts' [P, 3], 'robust' [M, P], 'stable': {engine: [M, P]}, 'rotation_deg',
  'diverged', 'seconds'} of M = config.solids random solids under the first zero and then
  config.tilts.n tilts."""
  seeds = range(config.first_seed, config.first_seed + config.solids)
  bodies = body.pack([solids.random_solid(seed) for seed in seeds], config.hull_vertices)
  tilts = np.zeros((1, 3), np.float32)
  if config.tilts.n:
    tilts = np.concatenate([tilts, sweep.tilts(config.tilts.n, config.tilts.max_deg,
                                               jax.random.key(config.tilts.seed))])
  labels = {'kinds': [solids.kind(seed) for seed in seeds], 'tilts': tilts, 'stable': {},
            'rotation_deg': {}, 'diverged': {}, 'seconds': {}}
  for engine in ('native', *engines):
    if engine != 'native':  # the first call compiles
      sweep.run(bodies, tilts, engine, seconds=0.1)
    began = time.monotonic()
    result = sweep.run(bodies, tilts, engine, config.seconds)
    labels['seconds'][engine] = time.monotonic() - began
    for name in ('stable', 'rotation_deg', 'diverged'):
      labels[name][engine] = getattr(result, name)
    report(f'{engine}: {labels["seconds"][engine]:.1f} s for {result.stable.size} worlds')
  labels['robust'] = robust(bodies, tilts, labels['stable']['native'], config.seconds)
  return labels


def robust(bodies, tilts, stable, seconds):
  """[M, P]: whether `native` gives the label `stable` at twice the step and under four nudges."""
  same = sweep.run(bodies, tilts, 'native', seconds, timestep=2e-3).stable == stable
  for nudge in ((NUDGE, 0, 0), (-NUDGE, 0, 0), (0, NUDGE, 0), (0, -NUDGE, 0)):
    nearby = tilts + np.array(nudge, np.float32)
    same &= sweep.run(bodies, nearby, 'native', seconds, timestep=2e-3).stable == stable
  return same


def text(labels, config, command):
  """The page: the tables of `labels`, the result of `study`."""
  stable, kinds = labels['stable'], np.array(labels['kinds'])
  engines = list(stable)
  worlds, clear = stable['native'].size, labels['robust']
  speed = {e: worlds / labels['seconds'][e] for e in engines}
  same = {e: stable[e] == stable['native'] for e in engines[1:]}
  lines = [
      '# Do the engines agree?', '', f'`{command}`', '',
      f'{len(kinds)} random solids ({", ".join(dict.fromkeys(kinds))}; seeds '
      f'{config.first_seed} to {config.first_seed + len(kinds) - 1}), each released upright, and '
      f'then tilted by up to {config.tilts.max_deg:g} degrees ({len(labels["tilts"]) - 1} of '
      f'each), {config.seconds:g} s: {worlds:,} worlds, of which {clear.mean():.1%} have a robust '
      'label (the same in C MuJoCo at 1 and 2 ms and under four nudges of 2 mrad). '
      f'{stable["native"].mean():.1%} stand in C MuJoCo.', '',
      '## Against C MuJoCo (1 ms)', '']
  body = []
  for e in engines[1:]:
    table = stability.confusion(stable['native'][clear], stable[e][clear])
    tilted = f'{same[e][:, 1:][clear[:, 1:]].mean():.1%}' if clear.shape[1] > 1 else 'none'
    body.append([e, f'{same[e][:, 0][clear[:, 0]].mean():.1%}', tilted, f'{table.agreement:.2%}',
                 table.both_stable, table.falsely_stable, table.falsely_unstable,
                 table.both_unstable, f'{same[e].mean():.1%}', int(labels['diverged'][e].sum()),
                 f'{speed[e]:.0f}', f'{speed[e] / speed["native"]:.1f}'])
  lines += markdown.table(
      ['engine', 'upright', 'tilted', 'together', 'both stand', 'stands wrongly', 'falls wrongly',
       'both fall', 'all labels', 'diverged', 'worlds/s', 'times native'], body)
  lines += ['', 'The shares upright, tilted and together and the four counts are of robust labels '
            f'({int(clear[:, 0].sum())} upright, {int(clear[:, 1:].sum())} tilted), diverged of '
            f'all. native: {speed["native"]:.0f} worlds/s. Compiling is not counted.',
            '', '## By kind of solid (robust labels)', '']
  of_kind = {kind: kinds == kind for kind in dict.fromkeys(kinds)}
  lines += markdown.table(['kind', 'stand', *engines[1:]], [
      [kind, f'{stable["native"][rows].mean():.0%}',
       *(f'{same[e][rows][clear[rows]].mean():.1%}' for e in engines[1:])]
      for kind, rows in of_kind.items()])
  # The header's empty cell is one space wide, as in docs/results/engines.md.
  header, *body = markdown.table(['', *engines], [
      [a, *(f'{np.mean(stable[a] == stable[b]):.1%}' for b in engines)] for a in engines])
  lines += ['', '## Each with each (all labels)', '', header.replace('|  |', '| |'), *body]
  return '\n'.join(lines) + '\n'


COLUMNS = ('solid', 'kind', 'tilt', 'engine', 'stable', 'rotation_deg', 'diverged', 'robust')


def rows(labels):
  """Rows of labels.csv: one for each solid, tilt and engine."""
  for engine, stable in labels['stable'].items():
    for m, kind in enumerate(labels['kinds']):
      for p in range(stable.shape[1]):
        yield {'solid': m, 'kind': kind, 'tilt': p, 'engine': engine,
               'stable': bool(stable[m, p]),
               'rotation_deg': float(labels['rotation_deg'][engine][m, p]),
               'diverged': bool(labels['diverged'][engine][m, p]),
               'robust': bool(labels['robust'][m, p])}

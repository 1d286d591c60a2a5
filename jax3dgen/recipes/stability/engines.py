"""Do the engines agree? Random solids, upright and tilted, under all of them, as tables.

The truth is `native` at 1 ms. A label is robust where it is the same at 2 ms and under four nudges
of 2 mrad: where C MuJoCo disagrees with itself, no engine can agree with it.
"""

import time

import jax
import numpy as np

from jax3dgen.data import solids
from jax3dgen.metrics import stability
from jax3dgen.physics import body, sweep

NUDGE = 2e-3  # radians


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
  found = {'kinds': [solids.kind(seed) for seed in seeds], 'tilts': tilts, 'stable': {},
           'rotation_deg': {}, 'diverged': {}, 'seconds': {}}
  for engine in ('native', *engines):
    if engine != 'native':  # the first call compiles
      sweep.run(bodies, tilts, engine, seconds=0.1)
    began = time.monotonic()
    result = sweep.run(bodies, tilts, engine, config.seconds)
    found['seconds'][engine] = time.monotonic() - began
    for name in ('stable', 'rotation_deg', 'diverged'):
      found[name][engine] = getattr(result, name)
    report(f'{engine}: {found["seconds"][engine]:.1f} s for {result.stable.size} worlds')
  found['robust'] = robust(bodies, tilts, found['stable']['native'], config.seconds)
  return found


def robust(bodies, tilts, stable, seconds):
  """[M, P]: does `native` give the label `stable` at twice the step and under four nudges, too?"""
  same = sweep.run(bodies, tilts, 'native', seconds, timestep=2e-3).stable == stable
  for nudge in ((NUDGE, 0, 0), (-NUDGE, 0, 0), (0, NUDGE, 0), (0, -NUDGE, 0)):
    moved = tilts + np.array(nudge, np.float32)
    same &= sweep.run(bodies, moved, 'native', seconds, timestep=2e-3).stable == stable
  return same


def markdown(found, config, command):
  """The tables as a page of Markdown."""
  stable, kinds = found['stable'], np.array(found['kinds'])
  engines = list(stable)
  worlds, clear = stable['native'].size, found['robust']
  speed = {e: worlds / found['seconds'][e] for e in engines}
  lines = [
      '# Do the engines agree?', '', f'`{command}`', '',
      f'{len(kinds)} random solids ({", ".join(dict.fromkeys(kinds))}; seeds '
      f'{config.first_seed} to {config.first_seed + len(kinds) - 1}), each released upright, and '
      f'then tilted by up to {config.tilts.max_deg:g} degrees ({len(found["tilts"]) - 1} of each), '
      f'{config.seconds:g} s: {worlds:,} worlds, of which {clear.mean():.1%} have a robust label '
      '(the same in C MuJoCo at 1 and 2 ms and under four nudges of 2 mrad). '
      f'{stable["native"].mean():.1%} stand in C MuJoCo.', '',
      '## Against C MuJoCo (1 ms)', '',
      '| engine | upright | tilted | together | both stand | stands wrongly | falls wrongly | '
      'both fall | all labels | diverged | worlds/s | times native |', '|---' * 12 + '|']
  for e in engines[1:]:
    same = stable[e] == stable['native']
    table = stability.confusion(stable['native'][clear], stable[e][clear])
    tilted = f'{same[:, 1:][clear[:, 1:]].mean():.1%}' if same.shape[1] > 1 else 'none'
    lines.append(
        f'| {e} | {same[:, 0][clear[:, 0]].mean():.1%} | {tilted} | {table.agreement:.2%} | '
        f'{table.both_stable} | {table.falsely_stable} | {table.falsely_unstable} | '
        f'{table.both_unstable} | {same.mean():.1%} | {int(found["diverged"][e].sum())} | '
        f'{speed[e]:.0f} | {speed[e] / speed["native"]:.1f} |')
  lines += ['', 'The shares upright, tilted and together and the four counts are of robust labels '
            f'({int(clear[:, 0].sum())} upright, {int(clear[:, 1:].sum())} tilted), diverged of '
            f'all. native: {speed["native"]:.0f} worlds/s. Compiling is not counted.',
            '', '## By kind of solid (robust labels)', '',
            '| kind | stand | ' + ' | '.join(engines[1:]) + ' |', '|---' * (len(engines) + 1) + '|']
  for kind in dict.fromkeys(kinds):
    rows = kinds == kind
    cells = [f'{(stable[e] == stable["native"])[rows][clear[rows]].mean():.1%}'
             for e in engines[1:]]
    lines.append(f'| {kind} | {stable["native"][rows].mean():.0%} | ' + ' | '.join(cells) + ' |')
  lines += ['', '## Each with each (all labels)', '',
            '| | ' + ' | '.join(engines) + ' |', '|---' * (len(engines) + 1) + '|']
  for a in engines:
    lines.append(f'| {a} | ' + ' | '.join(
        f'{np.mean(stable[a] == stable[b]):.1%}' for b in engines) + ' |')
  return '\n'.join(lines) + '\n'


COLUMNS = ('solid', 'kind', 'tilt', 'engine', 'stable', 'rotation_deg', 'diverged', 'robust')


def rows(found):
  """Rows of labels.csv: one for each solid, tilt and engine."""
  for engine, stable in found['stable'].items():
    for m, kind in enumerate(found['kinds']):
      for p in range(stable.shape[1]):
        yield {'solid': m, 'kind': kind, 'tilt': p, 'engine': engine,
               'stable': bool(stable[m, p]),
               'rotation_deg': float(found['rotation_deg'][engine][m, p]),
               'diverged': bool(found['diverged'][engine][m, p]),
               'robust': bool(found['robust'][m, p])}

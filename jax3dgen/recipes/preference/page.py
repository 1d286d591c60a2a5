"""dso.md: the table of the models, the rounds, and the steps on validation images."""

import json

from jax3dgen.export import markdown
from jax3dgen.metrics import intervals

HEADER = ('model', 'stable', 'raw', 'largest part', 'rotation', 'Chamfer', 'F-score', 'IoU',
          'parts', 'volume', 'exploded', 'not judged')
STEPS = ('step', 'stable', 'raw', 'largest part', 'Chamfer', 'IoU', 'parts', 'volume', 'exploded')


def text(figures, cfg, command):
  """The page of the figures of `run.run`."""
  rows = figures['rows']
  base = rows['base']
  lines = ['# Stability of a generator tuned on its own samples', '',
           f'{cfg.loss.name.upper()}, seed {cfg.seed}, {cfg.rounds} round(s) of '
           f'{cfg.train.steps} steps; {base["samples"]} samples of test images, the same noise for '
           'every model. `stable`: all parts as one body after a flat cut of '
           f'{cfg.label.cut:g} voxels; `raw`: uncut; `largest part`: alone. Chamfer distance and '
           "F-score by DSO's protocol; volume relative to the base's; `exploded`: larger than "
           f'{cfg.watch.volume:g} times the base\'s sample of the same noise. 95 % intervals by '
           'Wilson.', '',
           *markdown.table(HEADER, [_row(name, row, base) for name, row in rows.items()])]
  for number, record in enumerate(figures['rounds'], 1):
    lines += ['', f'## Round {number}', '', *_round(record, cfg)]
  if command:
    lines += ['', f'    {command}']
  return '\n'.join(lines) + '\n'


def _row(name, row, base):
  return (name, *_judges(row), f'{row["rotation_deg"]:.1f} deg', _number(row['chamfer']),
          _number(row['f_score'], 3), _number(row['iou'], 3), f'{row["parts"]:.2f}',
          _ratio(row['volume'], base['volume']), row['exploded'], row['not_judged'])


def _judges(row):
  return [intervals.share(row[f'stable_{judge}'], row['samples'])
          for judge in ('cut', 'raw', 'largest')]


def _number(value, digits=4):
  return '-' if value is None else f'{value:.{digits}f}'


def _ratio(value, base):
  return f'{value / base:.2f}' if base else '-'


def _round(record, cfg):
  lines = [f'{record["stable"]} of {record["samples"]} samples of the pool stand; '
           f'{record["not_judged"]} could not be judged and count as unstable. Pairs of '
           f'{record["pairs"]} {cfg.pairs.of}s; {len(record["left_out"])} are left out. Step '
           f'{record["step"]} is the result.']
  if record['steps']:
    base = record['steps'][0]
    lines += ['', *markdown.table(STEPS, [
        (row['step'], *_judges(row), _number(row['chamfer']), _number(row['iou'], 3),
         f'{row["parts"]:.2f}', _ratio(row['volume'], base['volume']), row['exploded'])
        for row in record['steps']])]
  digests = json.dumps({name: value[:12] for name, value in record['digests'].items()})
  return [*lines, '', f'Digests: `{digests}`']

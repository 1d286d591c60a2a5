"""Tables of the study's rows, with intervals over images and seeds."""

import numpy as np

from jax3dgen.export import markdown
from jax3dgen.metrics import intervals
from jax3dgen.recipes.preference import study

HEADER = ('run', 'model', 'seeds', 'stable', 'more than base', 'raw', 'largest part', 'rotation',
          'Chamfer', 'of base', 'F-score', 'IoU', 'of base', 'parts', 'volume')


def text(rows, command):
  """The page of rows of `study.run`: a line for each run and model, and a table of tilts."""
  lines = ['# Samples that stand', '', f'`{command}`', '',
           'Pooled over seeds; every model has the same images and noise as the base of its seed. '
           'In brackets 95 % intervals: of shares by Wilson, of differences and ratios to the base '
           'by the bootstrap over images (2,000 resamples), which keeps the pairs.', '',
           *table(rows)]
  tilts = tilt_table(rows)
  return '\n'.join([*lines, *(['', '## Under tilts', '', *tilts] if tilts else [])]) + '\n'


def table(rows):
  """The lines of the main table."""
  plain = [row for row in rows if 'singles' in row]
  base = {row['seed']: row for row in plain if (row['name'], row['model']) == (study.BASE,) * 2}
  groups = dict.fromkeys((row['name'], row['model']) for row in plain)
  return markdown.table(HEADER, [
      line(name, model, [row for row in plain if (row['name'], row['model']) == (name, model)],
           base) for name, model in groups])


def line(name, model, rows, base):
  """The cells of a run's model, pooled over its rows (one per seed)."""
  total = sum(row['samples'] for row in rows)
  count = lambda judge: intervals.share(sum(row[f'stable_{judge}'] for row in rows), total)
  weights = [row['samples'] for row in rows]
  mean = lambda key: np.average([row[key] for row in rows], weights=weights)
  number = lambda key, digits: '-' if any(row[key] is None for row in rows) else (
      f'{mean(key):.{digits}f}')
  pairs = [(row, base[row['seed']]) for row in rows
           if row['seed'] in base and row['samples'] == base[row['seed']]['samples']]
  paired = bool(pairs) and (name, model) != (study.BASE,) * 2
  more = interval(difference, pairs, 'cut', '{:+.1%}') if paired else ''
  ratios = {key: interval(ratio, pairs, key, '{:.3f}') if paired else ''
            for key in study.LISTS}
  volume = np.mean([row['volume'] / base[row['seed']]['volume'] for row in rows
                    if row['seed'] in base]) if base else np.nan
  return (name, model, len(rows), count('cut'), more, count('raw'), count('largest'),
          f'{mean("rotation_deg"):.1f} deg', number('chamfer', 4), ratios['chamfer'],
          number('f_score', 3), number('iou', 3), ratios['iou'], f'{mean("parts"):.2f}',
          f'{volume:.2f}')


def difference(ours, theirs):
  """The difference of two means."""
  return np.nanmean(ours) - np.nanmean(theirs)


def ratio(ours, theirs):
  """The ratio of two means."""
  return np.nanmean(ours) / np.nanmean(theirs)


def interval(statistic, pairs, key, form):
  """'value (low to high)' of a statistic of paired rows, by the bootstrap over images."""
  ours, theirs, image = (np.concatenate(x) for x in zip(*(
      (values(row, key), values(other, key), np.asarray(row['singles']['image']))
      for row, other in pairs)))
  value, low, high = intervals.bootstrap(
      lambda index: statistic(ours[index], theirs[index]), image)
  return f'{form.format(value)} ({form.format(low)} to {form.format(high)})'


def values(row, key):
  """A figure of single samples [N] float, NaN where there is none."""
  singles = row['singles'][key]
  if isinstance(singles, str):
    return np.array([float(bit) for bit in singles])
  return np.array([np.nan if x is None else x for x in singles], float)


def tilt_table(rows):
  """The lines of the table of tilts, means over seeds; [] where no row has tilts."""
  tilted = [row for row in rows if 'tilts' in row]
  if not tilted:
    return []
  sizes = list(tilted[0]['stable'])
  groups = dict.fromkeys((row['name'], row['model']) for row in tilted)
  return markdown.table(
      ('run', 'model', 'seeds', *(f'{size} rad' for size in sizes)), [
          (name, model, len(members), *(
              f'{np.mean([row["stable"][size] for row in members]):.1%}' for size in sizes))
          for name, model in groups
          for members in [[r for r in tilted if (r['name'], r['model']) == (name, model)]]])

"""The page of the pose classifier's measurement: tables, and a picture of confusion matrices."""

import itertools

from matplotlib.figure import Figure
import numpy as np

from jax3dgen.core import files
from jax3dgen.export import markdown
from jax3dgen.metrics import confusion, intervals
from jax3dgen.perception import templates

PRINTED = {'full': .785, 'orientation': .633, 'texture': .770}  # RecDreamer Table 6, accuracy
INTRO = """# The pose classifier against ground truth

`{command}`

{count:,} views of figurines ({kinds}), azimuths uniform, all colours, with and without hats, clean
and again spoilt as radiance fields spoil them (blur, speckle, noise, pale or drifting colours,
ghosts). Each view is compared with {pictures}; it counts as front, left, back or right by the
nearest of azimuths 0, 90, 180 and 270 degrees, so that views near a border are ambiguous.

The features are those of `jax3dgen/assets/features`, which never saw a pose. RecDreamer's Table 6
({printed}) is of pretrained features, other pictures and other prompts: the order of the three can
be compared, the numbers cannot.
"""
SHIPPED = f"""the four shipped pictures of its kind, of gray figurines, as renders, as
line drawings, and as renders taken {templates.TURN_DEG} degrees too far round"""


def total(rows, **fields):
  """The sum of the confusion matrices of the rows that have the values `fields`; None without any,
  or where their poses differ."""
  matches = [row for row in rows if all(row[name] == value for name, value in fields.items())]
  if not matches or len({tuple(row['poses']) for row in matches}) > 1:
    return None
  return np.sum([row['matrix'] for row in matches], 0)


def accuracy(matrix):
  """'91.2% (90.4 to 91.9)': accuracy of a confusion matrix with Wilson's interval; 'none' without
  views."""
  if matrix is None or not matrix.sum():
    return 'none'
  hits, count = np.trace(matrix), matrix.sum()
  low, high = intervals.wilson(hits, count)
  return f'{hits / count:.1%} ({100 * low:.1f} to {100 * high:.1f})'


def block(header, rows):
  """Lines of a table between empty lines."""
  return ['', *markdown.table(header, rows), '']


def text(record, command):
  """The page of a record of `recipes.evaluate.pose_classifier.run`."""
  rows = record['rows']
  names = lambda field: list(dict.fromkeys(row[field] for row in rows))
  printed = ', '.join(f'{name} {value:.3f}' for name, value in PRINTED.items())
  pictures = f'the pictures in `{record["folder"]}`' if record['folder'] else SHIPPED
  lines = [INTRO.format(command=command, count=record['count'], kinds=', '.join(record['kinds']),
                        pictures=pictures, printed=printed), '## Which similarity decides', '',
           '"Printed" is Eqs. 15 to 17 to the letter, "hybrid" the orientation of Eq. 16 in the '
           'other steps of the authors\' code, the others are the code; see `perception/pose.py`. '
           'Precision, recall and F1 are means over the poses.']
  for state in names('views'):
    body = []
    for bank in names('templates'):
      for form in names('form'):
        matrix = total(rows, templates=bank, form=form, views=state)
        if matrix is not None and matrix.sum():
          s = confusion.scores(matrix)
          body.append([bank, form, accuracy(matrix),
                       *(f'{s[name]:.3f}' for name in ('precision', 'recall', 'f1'))])
    lines += block([f'templates, {state} views', 'similarity', 'accuracy (95 % interval)',
                    'precision', 'recall', 'F1'], body)
  sets = [(bank, state) for bank in names('templates') for state in names('views')]
  titles = [f'{bank}, {state}' for bank, state in sets]
  cells = lambda **fields: [
      accuracy(total(rows, templates=bank, views=state, form='full', **fields))
      for bank, state in sets]
  lines += ['## By kind, full classifier']
  lines += block(['kind', *titles], [[kind, *cells(kind=kind)] for kind in names('kind')])
  lines += ['## By elevation, full classifier']
  lines += block(['elevation', *titles], [
      [f'{low} to {high} deg', *cells(elevation=i)]
      for i, (low, high) in enumerate(itertools.pairwise(record['elevations_deg']))])
  lines += ['## Temperature', '', 'Mean of -log p(true pose), full classifier: the temperature '
            'with the least is the most honest one.']
  body = []
  for bank, state in sets:
    losses = [row['log_loss'] for row in rows if row['log_loss'] and row['form'] == 'full'
              and row['templates'] == bank and row['views'] == state]
    count = total(rows, templates=bank, views=state, form='full')
    if count is not None:
      body.append([bank, state, *(f'{sum(loss[t] for loss in losses) / count.sum():.3f}'
                                  for t in losses[0])])
  temperatures = next(row['log_loss'] for row in rows if row['log_loss'])
  lines += block(['templates', 'views', *temperatures], body)
  picture_line = '![Rows: true pose; columns: predicted pose; shares](confusion.png)'
  return '\n'.join([*lines, '', picture_line]) + '\n'


def picture(path, record):
  """The confusion matrices of the full classifier, one per template set and sort of views."""
  rows = record['rows']
  panels = [(bank, state, total(rows, templates=bank, views=state, form='full'))
            for bank in dict.fromkeys(row['templates'] for row in rows)
            for state in dict.fromkeys(row['views'] for row in rows)]
  panels = [panel for panel in panels if panel[2] is not None]
  figure = Figure((2.6 * len(panels), 2.7), layout='constrained')
  for axes, (bank, state, matrix) in zip(
      figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
    part = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(part, cmap='Blues', vmin=0, vmax=1)
    poses = rows[0]['poses']
    axes.set_xticks(range(len(poses)), poses, fontsize=8)
    axes.set_yticks(range(len(poses)), poses, fontsize=8)
    axes.set_title(f'{bank}, {state}', fontsize=9)
    for (i, j), value in np.ndenumerate(part):
      axes.text(j, i, f'{value:.2f}', ha='center', va='center', fontsize=8,
                color='white' if value > 0.5 else '#20242b')
  with files.replacing(path) as beside:
    figure.savefig(beside, format='png', dpi=120)


def write(workdir, record, command):
  """pose_classifier.md and confusion.png in the workdir."""
  picture(workdir / 'confusion.png', record)
  with files.replacing(workdir / 'pose_classifier.md') as beside:
    beside.write_text(text(record, command), encoding='utf-8')

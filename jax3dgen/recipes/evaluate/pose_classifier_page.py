"""What the measurement of the pose classifier writes: a page of tables, and a picture."""

import itertools

from matplotlib.figure import Figure
import numpy as np

from jax3dgen.core import files
from jax3dgen.export import markdown as md
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
line drawings, and as renders taken {templates.TURNED} degrees too far round"""


def total(rows, **chosen):
  """The sum of the confusion matrices of the rows in which all fields are as `chosen`; None where
  there is none, or they are not of the same poses."""
  mine = [row for row in rows if all(row[name] == value for name, value in chosen.items())]
  if not mine or len({tuple(row['poses']) for row in mine}) > 1:
    return None
  return np.sum([row['matrix'] for row in mine], 0)


def share(table):
  """'91.2 % (90.4 to 91.9)': accuracy with Wilson's interval; 'none' of nothing."""
  if table is None or not table.sum():
    return 'none'
  hits, count = np.trace(table), table.sum()
  low, high = intervals.wilson(hits, count)
  return f'{hits / count:.1%} ({100 * low:.1f} to {100 * high:.1f})'


def table(head, rows):
  return ['', *md.table(head, rows), '']


def markdown(found, command):
  """The page of what `recipes.evaluate.pose_classifier.run` found."""
  rows = found['rows']
  names = lambda field: list(dict.fromkeys(row[field] for row in rows))
  printed = ', '.join(f'{name} {value:.3f}' for name, value in PRINTED.items())
  pictures = f'the pictures in `{found["folder"]}`' if found['folder'] else SHIPPED
  lines = [INTRO.format(command=command, count=found['count'], kinds=', '.join(found['kinds']),
                        pictures=pictures, printed=printed), '## Which similarity decides', '',
           '"Printed" is the paper\'s Eq. 16 to the letter, the others its code; see '
           '`perception/pose.py`. Precision, recall and F1 are means over the poses.']
  for state in names('views'):
    body = []
    for kept in names('templates'):
      for form in names('form'):
        matrix = total(rows, templates=kept, form=form, views=state)
        if matrix is not None and matrix.sum():
          s = confusion.scores(matrix)
          body.append([kept, form, share(matrix),
                       *(f'{s[name]:.3f}' for name in ('precision', 'recall', 'f1'))])
    lines += table([f'templates, {state} views', 'similarity', 'accuracy (95 % interval)',
                    'precision', 'recall', 'F1'], body)
  lines += ['## By kind, full classifier']
  lines += table(['kind', *(f'{kept}, {state}' for kept in names('templates')
                            for state in names('views'))],
                 [[kind, *(share(total(rows, kind=kind, templates=kept, views=state, form='full'))
                           for kept in names('templates') for state in names('views'))]
                  for kind in names('kind')])
  lines += ['## By elevation, full classifier']
  lines += table(['elevation', *(f'{kept}, {state}' for kept in names('templates')
                                 for state in names('views'))],
                 [[f'{low} to {high} deg',
                   *(share(total(rows, elevation=i, templates=kept, views=state, form='full'))
                     for kept in names('templates') for state in names('views'))]
                  for i, (low, high) in enumerate(itertools.pairwise(found['elevations_deg']))])
  lines += ['## Temperature', '', 'Mean of -log p(true pose), full classifier: the temperature '
            'with the least is the most honest one.']
  body = []
  for kept in names('templates'):
    for state in names('views'):
      mine = [row for row in rows if row['log_loss'] and row['form'] == 'full'
              and row['templates'] == kept and row['views'] == state]
      count = total(rows, templates=kept, views=state, form='full')
      if count is not None:
        body.append([kept, state, *(
            f'{sum(row["log_loss"][t] for row in mine) / count.sum():.3f}'
            for t in mine[0]['log_loss'])])
  temperatures = next(row['log_loss'] for row in rows if row['log_loss'])
  lines += table(['templates', 'views', *temperatures], body)
  return '\n'.join(lines) + '\n\n![Rows: true pose; columns: said; shares](confusion.png)\n'


def picture(path, found):
  """The confusion matrices of the full classifier, one per template set and sort of views."""
  rows = found['rows']
  shown = [(kept, state, total(rows, templates=kept, views=state, form='full'))
           for kept in dict.fromkeys(row['templates'] for row in rows)
           for state in dict.fromkeys(row['views'] for row in rows)]
  shown = [x for x in shown if x[2] is not None]
  figure = Figure((2.6 * len(shown), 2.7), layout='constrained')
  for axes, (kept, state, matrix) in zip(
      figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
    part = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(part, cmap='Blues', vmin=0, vmax=1)
    poses = rows[0]['poses']
    axes.set_xticks(range(len(poses)), poses, fontsize=8)
    axes.set_yticks(range(len(poses)), poses, fontsize=8)
    axes.set_title(f'{kept}, {state}', fontsize=9)
    for (i, j), value in np.ndenumerate(part):
      axes.text(j, i, f'{value:.2f}', ha='center', va='center', fontsize=8,
                color='white' if value > 0.5 else '#20242b')
  with files.replacing(path) as beside:
    figure.savefig(beside, format='png', dpi=120)


def write(workdir, found, command):
  """pose_classifier.md and confusion.png in the workdir."""
  picture(workdir / 'confusion.png', found)
  with files.replacing(workdir / 'pose_classifier.md') as beside:
    beside.write_text(markdown(found, command), encoding='utf-8')

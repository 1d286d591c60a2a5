"""Tables of the study's rows, with paired intervals over objects and seeds."""

import numpy as np

from jax3dgen.export import markdown
from jax3dgen.metrics import intervals
from jax3dgen.metrics import multiview as metrics
from jax3dgen.recipes.multiview import evaluate, page, study

FIXED = ('samples', 'spread', 'frechet')


def text(rows, command=''):
  """The page of rows of `study.run`: figures of all runs, their changes from the base, and from
  supervised training where a run is called sft."""
  lines = ['# Tunings of a multi-view prior', '', *([f'`{command}`', ''] if command else []),
           'Means over seeds, which all have the same objects.', '', *table(rows)]
  for name, title in ((study.BASE, 'the base'), ('sft', 'supervised training')):
    if any(row['name'] == name for row in rows):
      lines += ['', f'## Change from {title}', '',
                'On equal noise. In brackets 95 % intervals by the bootstrap over objects, with '
                'the samples of all seeds.', '', *changes(rows, name)]
  return '\n'.join(lines) + '\n'


def table(rows):
  """The lines of the table of figures, a line for each run."""
  names = [name for name in rows[0] if name in (*metrics.NUMBERS, *metrics.SHARES)] + [
      name for name in judges(rows)]
  header = ('run', 'seeds', 'preferences', 'agree with PSNR', *names, *FIXED[1:])
  lines = []
  for name, members in groups(rows).items():
    mean = lambda figure, members=members: None if members[0][figure] is None else float(
        np.mean([row[figure] for row in members]))
    tuning = [row['tuning'] for row in members if 'pairs' in row.get('tuning', {})]
    pairs = (str(round(np.mean([t['pairs'] for t in tuning]))),
             f'{np.mean([t["agreement"] for t in tuning]):.3f}') if tuning else ('', '')
    lines.append([name, len(members), *pairs, *(
        page.number(mean(figure)) for figure in (*names, *FIXED[1:]))])
  return markdown.table(header, lines)


def changes(rows, name):
  """The lines of the table of changes from the run `name`, a line for each other run."""
  of = groups(rows)
  base = {row['seed']: row for row in of[name]}
  names = ('psnr', 'ssim', *study.SHARES, *judges(rows))
  lines = []
  for other, members in of.items():
    members = [row for row in members if row['seed'] in base]
    if other not in (name, study.BASE) and members:
      ours = pooled(members)
      theirs = pooled([base[row['seed']] for row in members])
      lines.append([other, len(members), *(
          page.interval(*intervals.bootstrap(
              lambda index, figure=figure, ours=ours, theirs=theirs: (
                  evaluate.value(ours, figure, index) - evaluate.value(theirs, figure, index)),
              ours['object'])) for figure in names)])
  return markdown.table(('run', 'seeds', *names), lines)


def groups(rows):
  """{name: rows of its seeds}."""
  return {name: [row for row in rows if row['name'] == name]
          for name in dict.fromkeys(row['name'] for row in rows)}


def judges(rows):
  """The names of the scores of views that rows have."""
  return [name for name in rows[0]['singles']
          if name not in ('object', 'psnr', 'ssim') and not name.endswith(('_right', '_count'))]


def pooled(rows):
  """{name: array [seeds x N]} of the figures of single samples."""
  return {name: np.concatenate([np.asarray(row['singles'][name], float) for row in rows])
          for name in rows[0]['singles']}

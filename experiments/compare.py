"""Runs objectives side by side, and counts faces.

  python -m experiments.compare --config configs/compare_janus.py --workdir runs/janus

The workdir receives compare.md (tables), a picture for each prompt (a row of views for each method,
from the first seed), and cells/, the figures and views of every run. A comparison that was broken
off, or grows by further methods or seeds, goes on where it was. Exit status: 0 all runs came to
something, 3 some did not.
"""

import pathlib
import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.core import files, parallel
  from jax3dgen.export import turntable
  from jax3dgen.prior import words
  from jax3dgen.recipes.compare import page as pages
  from jax3dgen.recipes.compare import run as compare
  parallel.initialize()
  cells = pathlib.Path(config.compare.cells or workdir / 'cells')
  rows = compare.run(config, workdir, cells)
  page = pages.text(rows, shlex.join(['python', '-m', 'experiments.compare', *sys.argv[1:]]))
  for prompt in compare.asked(config):
    strips = pages.picture(rows, cells, prompt, config.compare.first_seed)
    if strips is not None:
      turntable.write_png(workdir / f'{words.slug(prompt)}.png', strips)
  with files.replacing(workdir / 'compare.md') as beside:
    beside.write_text(page, encoding='utf-8')
  print(page)
  return 3 if any(row['failed'] for row in rows) else 0


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/compare_janus.py')

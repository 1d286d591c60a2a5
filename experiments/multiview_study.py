"""Compares tunings of a multi-view prior by several preferences and seeds (docs/multiview.md).

  python -m experiments.multiview_study --config configs/multiview_study.py --workdir runs/multiview

Rows that config.table holds are not computed again. The workdir receives rows.jsonl,
multiview_study.md, pictures of views (pictures/SEED.png) and the folders of the runs, from which
the same command resumes; with --merge the new rows are added to the table.
"""

import shlex
import sys

from experiments import _command


def flags(parser):
  parser.add_argument('--merge', action='store_true',
                      help='add the rows of the workdir to config.table')


def run(config, workdir, args):
  from jax3dgen.core import files
  from jax3dgen.core.errors import ConfigError
  from jax3dgen.recipes.multiview import study, study_page
  from jax3dgen.recipes.preference import study_rows
  if args.merge and not config.table:
    raise ConfigError('--merge needs config.table, the file that it adds to.')
  rows = study.run(config, workdir)
  if args.merge:
    print(f'{study_rows.merge(config, workdir)} new rows in {config.table}.')
  command = shlex.join(['python', '-m', 'experiments.multiview_study', *sys.argv[1:]])
  text = study_page.text(rows, command)
  with files.replacing(workdir / 'multiview_study.md') as beside:
    beside.write_text(text, encoding='utf-8')
  print(text)


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/multiview_study.py', flags=flags)

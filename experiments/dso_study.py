"""Compares ways to make a 3D generator's samples stand (docs/dso.md).

  python -m experiments.dso_study --config configs/dso_study.py:main --workdir runs/dso

Rows that config.table holds are not computed again. The workdir receives rows.jsonl, dso_study.md,
pictures of samples (pictures/RUN-SEED.png) and of the losses (losses.png, DSO Figure 8), and the
folders of the runs, from which the same command resumes; with --merge the new rows are added to the
table. Parts of the study may share a workdir, and then share samples, labels and runs.
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
  from jax3dgen.recipes.preference import study, study_page, study_pictures, study_rows
  if args.merge and not config.table:
    raise ConfigError('--merge needs config.table, the file that it adds to.')
  rows = study.run(config, workdir)
  if args.merge:
    print(f'{study_rows.merge(config, workdir)} new rows in {config.table}.')
  command = shlex.join(['python', '-m', 'experiments.dso_study', *sys.argv[1:]])
  text = study_page.text(rows, command)
  with files.replacing(workdir / 'dso_study.md') as beside:
    beside.write_text(text, encoding='utf-8')
  with files.replacing(workdir / 'losses.png') as beside:
    beside.write_bytes(study_pictures.losses())
  print(text)


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/dso_study.py', flags=flags)

"""What the commands of studies share: rows by seeds, their table, and a page."""

import shlex
import sys


def flags(parser):
  parser.add_argument('--merge', action='store_true',
                      help='add the rows of the workdir to config.table')


def write(name, study, text, config, workdir, args):
  """Runs study(config, workdir) -> rows for the command `name`, and writes and prints the page
  text(rows, command), NAME.md."""
  from jax3dgen.core import files
  from jax3dgen.core.errors import ConfigError
  from jax3dgen.recipes.preference import study_rows
  if args.merge and not config.table:
    raise ConfigError('--merge needs config.table, the file that it adds to.')
  rows = study(config, workdir)
  if args.merge:
    print(f'{study_rows.merge(config, workdir)} new rows in {config.table}.')
  page = text(rows, shlex.join(['python', '-m', f'experiments.{name}', *sys.argv[1:]]))
  with files.replacing(workdir / f'{name}.md') as beside:
    beside.write_text(page, encoding='utf-8')
  print(page)

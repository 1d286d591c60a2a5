"""Makes runs of several objectives side by side, and counts their faces.

  python -m experiments.compare --config configs/compare_janus.py --workdir runs/janus

Runs that config.compare.table holds are not repeated. The others are kept in cells/ of the workdir,
each with its figures and its last strip of views, so that the same command resumes a comparison;
with --merge their rows are then added to the table. The workdir also receives compare.md (tables)
and a picture for each prompt (the strips in the workdir for the first seed, a row per method). Exit
status: 0 no run failed, 3 some failed.
"""

import pathlib
import shlex
import sys

from experiments import _command


def flags(parser):
  parser.add_argument('--merge', action='store_true',
                      help='add the finished runs of the workdir to config.compare.table')


def run(config, workdir, args):
  from jax3dgen.core import files, parallel
  from jax3dgen.core.errors import ConfigError
  from jax3dgen.export import turntable
  from jax3dgen.prior import words
  from jax3dgen.recipes.compare import page as pages
  from jax3dgen.recipes.compare import run as compare
  from jax3dgen.recipes.compare import table as tables
  parallel.initialize()
  path = config.compare.table
  if args.merge and not path:
    raise ConfigError('--merge needs config.compare.table, the file that it adds to.')
  new = args.merge and not pathlib.Path(path).exists()
  config.compare.table = '' if new else path
  rows = compare.run(config, workdir)
  config.compare.table = path
  if new:
    tables.write(path, tables.Table([], {}))
  if args.merge:
    print(f'{compare.merge(config, workdir)} new rows in {path}.')
  rows_per_step = {method: compare.denoiser_rows(config, method)
                   for method in dict.fromkeys(row['method'] for row in rows)}
  page = pages.text(rows, shlex.join(['python', '-m', 'experiments.compare', *sys.argv[1:]]),
                    rows_per_step)
  for prompt in compare.prompts_of(config):
    strips = pages.picture(rows, workdir / 'cells', prompt, config.compare.first_seed)
    if strips is not None:
      turntable.write_png(workdir / f'{words.slug(prompt)}.png', strips)
  with files.replacing(workdir / 'compare.md') as beside:
    beside.write_text(page, encoding='utf-8')
  print(page)
  return 3 if any(row['failed'] for row in rows) else 0


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/compare_janus.py', flags=flags)

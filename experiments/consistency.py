"""Compares measures of 3D consistency on views with known errors, and with the order of PSNR.

  python -m experiments.consistency --config configs/consistency.py --workdir runs/consistency_table

The workdir receives consistency.md (a table of the share of wrong views that score lower than the
true one, by head, negatives and error, with 95 % intervals) and consistency.jsonl (the same, a row
for each number). Generated views are kept there, so that the same command again is quicker.
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes.multiview import consistency_table
  workdir.mkdir(parents=True, exist_ok=True)
  command = shlex.join(['python', '-m', 'experiments.consistency', *sys.argv[1:]])
  consistency_table.run(config, workdir, command)
  print((workdir / 'consistency.md').read_text(encoding='utf-8'))


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/consistency.py')

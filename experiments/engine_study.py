"""Compares all stability engines with C MuJoCo on random solids.

  python -m experiments.engine_study --config configs/engine_study.py --workdir runs/engines

The workdir receives engines.md (tables) and labels.csv (all labels of all engines).
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.core import files, parallel
  from jax3dgen.export import sweep_tables
  from jax3dgen.recipes.stability import engines
  from jax3dgen.recipes.stability import sweep as stability_sweep
  from jax3dgen.train import workdir as workdirs
  parallel.initialize()
  engines.check(config)
  names = [e for e in stability_sweep.engine_names(config.engine) if e != 'native']
  command = shlex.join(['python', '-m', 'experiments.engine_study', *sys.argv[1:]])
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, args.allow_change)
    labels = engines.study(config, names)
    page = engines.text(labels, config, command)
    sweep_tables.write_csv(workdir / 'labels.csv', engines.COLUMNS, engines.rows(labels))
    with files.replacing(workdir / 'engines.md') as beside:
      beside.write_text(page, encoding='utf-8')
  print(page)


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/engine_study.py')

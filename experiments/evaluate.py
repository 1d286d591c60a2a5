"""Evaluates finished objects: FID, uFID, entropies, text distance, face counts, diversity, cost.

  python -m experiments.evaluate --config.runs=runs/janus --workdir runs/janus_figures
  python -m experiments.evaluate --config.runs=pictures --config.prompt='a red bear' \\
      --workdir runs/figures

config.runs is a workdir of experiments.distill (each of its particles is an object), a folder of
such workdirs (those in one folder are a group), or a folder of PNG pictures of one size: strips of
views, one for each object, or single views of one object. The workdir receives evaluate.json,
evaluate.md, evaluate.csv (a row for each object) and reference/, the samples of the prior for
comparison. Each metric names the network that it uses. Exit status: 0 all objects were evaluated, 3
some were left out.
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.core import parallel
  from jax3dgen.recipes.evaluate import run as evaluate
  from jax3dgen.train import workdir as workdirs
  parallel.initialize()
  command = shlex.join(['python', '-m', 'experiments.evaluate', *sys.argv[1:]])
  with workdirs.lock(workdir):
    result = evaluate.run(config, workdir, command)
  print((workdir / 'evaluate.md').read_text(encoding='utf-8'))
  return 3 if result['left_out'] else 0


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/evaluate.py')

"""The theory of contrastive guidance by numbers, for data that are Gaussian in a plane.

  python -m experiments.contrastive_guidance --workdir runs/contrastive_guidance

The workdir receives contrastive_guidance.md (directions of simple and contrastive guidance beside
those of the paper's Example 1, laws of the guided samples by moment equations, closed forms and
samples), a picture and the figures as JSON.
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.core import parallel
  from jax3dgen.recipes import contrastive_guidance as recipe
  from jax3dgen.train import workdir as workdirs
  parallel.initialize()
  recipe.check(config)
  command = shlex.join(['python', '-m', 'experiments.contrastive_guidance', *sys.argv[1:]])
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, args.allow_change)
    recipe.run(config, workdir, command)
  print(f'{workdir / f"{recipe.NAME}.md"} shows the results.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/contrastive_guidance.py')

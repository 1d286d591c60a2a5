"""Studies of the distillation objectives on mixtures of Gaussians, whose scores are exact.

  python -m experiments.toy --config configs/toy.py --workdir runs/toy
  python -m experiments.toy --config.study=esd_gaussian_fit --workdir runs/esd

The workdir receives toy.md (tables with confidence intervals), a picture for each study and
toy.json (the figures). The studies: jsd_eight_gaussians (control variates and modes of JSD),
rectified_marginal (RecDreamer's rectifier on biased poses), esd_gaussian_fit (a Gaussian under ESD
against its fixed point), mode_coverage (every objective), divergence_bounds (JSD, KL, TV).
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.core import parallel
  from jax3dgen.recipes.toy import run as toy
  from jax3dgen.train import workdir as workdirs
  parallel.initialize()
  toy.check(config)
  command = shlex.join(['python', '-m', 'experiments.toy', *sys.argv[1:]])
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, args.allow_change)
    toy.run(config, workdir, command)
  print(f'{workdir / "toy.md"} shows the results.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/toy.py')

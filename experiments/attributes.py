"""Distils particles with and without a rectifier of an attribute, and measures the attribute.

  python -m experiments.attributes --config configs/attributes.py:hat --workdir runs/hat
  python -m experiments.attributes --config configs/attributes.py:color --workdir runs/color

The workdir receives attributes.md (shares with confidence intervals, by a classifier that no run
uses and by the rectifier's classifier), attributes.png (the last particles, a row for each run),
attributes.json and a folder for each run. A run that is interrupted resumes.
"""

import shlex
import sys

from experiments import _command


def complete(config):
  from jax3dgen.recipes.particles import attributes
  return attributes.complete(config)


def run(config, workdir, args):
  from jax3dgen.core import parallel
  from jax3dgen.recipes.particles import attributes
  from jax3dgen.train import workdir as workdirs
  parallel.initialize()
  attributes.check(config)
  command = shlex.join(['python', '-m', 'experiments.attributes', *sys.argv[1:]])
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, args.allow_change)
    attributes.run(config, workdir, command)
  print(f'{workdir / "attributes.md"} shows the shares.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/attributes.py', complete=complete)

"""The loop on leaning towers, as a program: `python -m tests.fakes.tower_run WORKDIR`."""

import pathlib
import sys

from experiments import _config
from jax3dgen.core import parallel
from jax3dgen.recipes.preference import run
from tests.fakes import tower_generator

if __name__ == '__main__':
  parallel.initialize()
  config = _config.load('configs/dso.py:tiny')[1]
  run.run(config, pathlib.Path(sys.argv[1]), tower_generator.make())

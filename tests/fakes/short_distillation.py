"""A short distillation: `python -m tests.fakes.short_distillation WORKDIR` in each process."""

import pathlib
import sys

import jax
import numpy as np

from configs import embedded
from jax3dgen.core import parallel, tree
from jax3dgen.recipes.distill import run as distill


def main(workdir):
  config = embedded.get_config('tiny')
  config.train.steps = 10
  result = distill.run(config, workdir)
  np.savez(pathlib.Path(workdir) / f'field_{jax.process_index()}.npz', **tree.named(result.field))
  print(parallel.device_count(), 'devices, digest', result.figures['params_digest'])


if __name__ == '__main__':
  main(sys.argv[1])

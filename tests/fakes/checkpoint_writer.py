"""A program that saves one checkpoint after another as fast as it can.

`python -m tests.fakes.checkpoint_writer FOLDER`
"""

import pathlib
import sys

import numpy as np

from jax3dgen.core import parallel
from jax3dgen.train import checkpoint


def state(step):
  """What the checkpoint of `step` holds."""
  draw = np.random.default_rng(step)
  return {'w': draw.normal(size=(200, 100)).astype(np.float32), 'step': np.array(step, np.int32)}


def main(folder):
  parallel.initialize()
  checkpoints = checkpoint.Checkpoints(folder, keep=2)
  newest = checkpoints.restore(state(0))
  step = newest[0] if newest else 0
  while True:
    step += 1
    checkpoints.save(step, state(step))
    checkpoints.wait()
    print(step, flush=True)  # from here on this step must survive


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))

"""Tunes a 3D generator on the simulated stability of its own samples (DSO).

  python -m experiments.dso --config configs/dso.py --workdir runs/dso
  python -m experiments.dso --config configs/dso.py:dro --workdir runs/dro
  python -m experiments.dso --config.generator.weights=TRELLIS --workdir runs/trellis

Each round samples a pool from the model so far, labels the samples by a drop test, and tunes LoRA
adapters of the model on pairs of a stable and an unstable sample; then the models are compared on
test images. The workdir receives dso.md (the table), result.json, and a folder per round:
generate, label, tune (metrics.csv, checkpoints, steps/STEP.safetensors) and select; test has the
figures of every test sample. The same command again resumes, within any phase.
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes.preference import run as preference
  command = shlex.join(['python', '-m', 'experiments.dso', *sys.argv[1:]])
  preference.run(config, workdir, allow_change=args.allow_change, command=command)
  print((workdir / 'dso.md').read_text(encoding='utf-8'))


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/dso.py')

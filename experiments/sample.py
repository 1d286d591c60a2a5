"""Samples pictures of prompts from a prior, a first check of new weights.

  python -m experiments.sample --config.prompts="('a red bear',)" --workdir runs/sample
  python -m experiments.sample --config configs/sample.py:sd15 \\
      --config.prior.weights=FOLDER --config.prompts="('a zombie bust',)" --workdir runs/sample

The workdir receives grid.png, a row of pictures for each prompt, and each picture as a file.
"""

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes import sample
  sample.run(config, workdir)
  print(f'{workdir / "grid.png"} shows the pictures.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/sample.py')

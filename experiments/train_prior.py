"""Trains the embedded prior: text to 32-pixel images of figurines.

  python -m experiments.train_prior --config configs/embedded_prior.py --workdir runs/prior

Its pictures are drawn as it trains: there is no data set to fetch. The workdir receives the folder
`weights` (weights.safetensors, config.json, words.json, card.md, curve.csv, curve.svg,
training.json, sha256), samples, metrics.csv, TensorBoard events and checkpoints. The same command
again resumes. `--config.init=shipped` continues from the weights of the package.
"""

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes.nets import prior
  folder = prior.run(config, workdir, args.allow_change)
  print(f'{workdir / "samples"} shows what it draws; copy {folder} to '
        'jax3dgen/assets/embedded_prior to ship this prior.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/embedded_prior.py')

"""Trains the features that the pose classifier compares pictures by, without labels.

  python -m experiments.train_features --config configs/features.py --workdir runs/features

Its pictures are drawn as it trains: there is no data set to fetch. The workdir receives the folder
`weights` (weights.safetensors, config.json with held-out figures, card.md, curve.csv, curve.svg,
sha256), metrics.csv, TensorBoard events and checkpoints. The same command again resumes.
"""

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes.nets import features
  folder = features.run(config, workdir, args.allow_change)
  print(f'{folder / "card.md"} holds the figures; copy {folder} to jax3dgen/assets/features to '
        'ship these features.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/features.py')

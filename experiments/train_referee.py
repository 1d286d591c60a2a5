"""Trains the referee, the judge of the embedded world that is used only to measure.

  python -m experiments.train_referee --config configs/referee.py --workdir runs/referee

Its pictures are drawn as it trains: there is no data set to fetch. The workdir receives the folder
`weights` (weights.safetensors, config.json with the held-out accuracies, labels.json, card.md,
curve.csv, curve.svg, sha256), metrics.csv, TensorBoard events and checkpoints. The same command
again resumes.
"""

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes.nets import referee
  folder = referee.run(config, workdir, args.allow_change)
  print(f'{folder / "card.md"} holds the accuracies; copy {folder} to jax3dgen/assets/referee to '
        'ship this referee.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/referee.py')

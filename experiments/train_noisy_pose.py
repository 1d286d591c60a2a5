"""Trains the classifier of poses in noisy pictures, for rectifiers that see x_t itself.

  python -m experiments.train_noisy_pose --config configs/noisy_pose.py --workdir runs/noisy_pose

Its pictures are drawn as it trains: there is no data set to fetch. The workdir receives the folder
`weights` (weights.safetensors, config.json with held-out figures, card.md, curve.csv, curve.svg,
sha256), metrics.csv, TensorBoard events and checkpoints. The same command again resumes.
"""

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes.nets import noisy_pose
  folder = noisy_pose.run(config, workdir, args.allow_change)
  print(f'{folder / "card.md"} holds the figures; copy {folder} to jax3dgen/assets/noisy_pose to '
        'ship this classifier.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/noisy_pose.py')

"""Trains a small net of the embedded world, or one of your own.

  python -m experiments.train_net --config configs/nets/referee.py --workdir runs/referee
  python -m experiments.train_net --config.name=my_net --workdir runs/mine

configs/nets has the nets that the package ships: `referee`, `features`, `noisy_pose`, `text_image`,
`prior`, `multiview`, which begins with the weights of `prior`, and `occupancy` and `generator`,
which are trained one after the other; `multiview_latent` trains leaves of a published U-Net.
`--config.name` names any other one: a module on the path with a `NET`, trained with the defaults of
that module unless they are overridden (CONTRIBUTING.md, "Adding a small net").

Examples are drawn while it trains, or once into the workdir: there is no data set to fetch. The
workdir receives the folder `weights` (weights.safetensors, config.json, card.md with the held-out
figures, curve.csv, curve.svg, sha256), metrics.csv, TensorBoard events and checkpoints; the priors
add samples. The same command again resumes.
"""

from experiments import _command


def complete(config):
  from jax3dgen.recipes.nets import ship
  return ship.complete(config)


def run(config, workdir, args):
  from jax3dgen.recipes.nets import ship
  folder = ship.run(ship.find(config.name), config, workdir, args.allow_change)
  print(f'{folder / "card.md"} holds the figures; {folder} is the folder of weights to ship.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/train_net.py', complete=complete)

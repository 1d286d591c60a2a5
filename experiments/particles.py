"""Distils N pictures (particles) without a scene, by any objective, and classifies their poses.

  python -m experiments.particles --config configs/particles.py --workdir runs/particles \\
      --config.distill.name=vsd

The workdir receives particles.md, particles.png (all particles over the steps), poses.png,
averages.png (of objectives with a rectifier), result.json, metrics.csv, TensorBoard events,
previews and checkpoints. Particle i has a camera at azimuth 360 i / N degrees, for objectives that
use one. The same command again resumes.
"""

import shlex
import sys

from experiments import _command


def complete(config):
  from jax3dgen.recipes.particles import run as particles
  return particles.complete(config)


def run(config, workdir, args):
  from jax3dgen.recipes.particles import run as particles
  command = shlex.join(['python', '-m', 'experiments.particles', *sys.argv[1:]])
  figures = particles.run(config, workdir, args.allow_change, command)
  shares = ', '.join(f'{name} {share:.0%}' for name, share in figures['poses'].items())
  print(f'{shares}; {workdir / "particles.md"} shows the particles.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/particles.py', complete=complete)

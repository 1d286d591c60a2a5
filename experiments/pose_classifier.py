"""Measures the accuracy of the pose classifier on figurines of known pose.

  python -m experiments.pose_classifier --config configs/pose_classifier.py --workdir runs/poses

The workdir receives pose_classifier.md (accuracies with confidence intervals by similarity, kind,
elevation and temperature, with the templates of the package and with sketches),
pose_classifier.json and confusion.png.
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes.evaluate import pose_classifier
  workdir.mkdir(parents=True, exist_ok=True)
  command = shlex.join(['python', '-m', 'experiments.pose_classifier', *sys.argv[1:]])
  pose_classifier.run(config, workdir, command)
  print(f'{workdir / "pose_classifier.md"} holds the figures.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/pose_classifier.py')

"""Writes the pose templates of the package: figurines from four sides, also as sketches.

  python -m experiments.pose_templates --workdir jax3dgen/assets/pose_templates
"""

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.data import figurines, pose_pictures
  from jax3dgen.export import turntable
  for kind in figurines.KINDS:
    for name, picture in pose_pictures.draw(kind).items():
      turntable.write_png(workdir / name, picture)
  print(f'The templates of {", ".join(figurines.KINDS)} are in {workdir}.')


if __name__ == '__main__':
  _command.main(run, __doc__)

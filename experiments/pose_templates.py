"""Samples the pose templates of a run from its prior, to look at or exchange before it starts.

  python -m experiments.pose_templates --config configs/usd.py:embedded --workdir runs/usd

The workdir receives templates/: a PNG for each pose, choice.json, and samples/ with all pictures
and sheet.png, which marks the chosen ones. A run with config.distill.templates=prior in the same
workdir uses these templates, a run elsewhere with config.distill.templates=WORKDIR/templates.
"""

from experiments import _command


def flags(parser):
  parser.add_argument('--package', action='store_true', help='write the templates of the package '
                      'instead: figurines from four sides, also as sketches')


def complete(config):
  from jax3dgen.recipes.distill import config as distill_config
  return distill_config.complete(config)


def run(config, workdir, args):
  if not args.package:
    from jax3dgen.core import parallel
    from jax3dgen.recipes.distill import parts
    parallel.initialize()
    parts.write_templates(config, workdir)
    return
  from jax3dgen.data import figurines, pose_pictures
  from jax3dgen.export import turntable
  for kind in figurines.KINDS:
    for name, picture in pose_pictures.draw(kind).items():
      turntable.write_png(workdir / name, picture)
  print(f'The templates of {", ".join(figurines.KINDS)} are in {workdir}.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/usd.py', flags=flags, complete=complete)

"""Distils a prompt into a textured mesh, evaluates it, and drops it in MuJoCo.

  python -m experiments.distill --config configs/embedded.py --config.prompt='a red bear' \\
      --workdir runs/bear

The workdir receives mesh.glb, turntable.mp4, report.html, result.json, metrics.csv, TensorBoard
events, previews and checkpoints. The same command again resumes.
"""

import shlex
import sys

from experiments import _command, _config
from jax3dgen.core.errors import ConfigError


def flags(parser):
  parser.add_argument('--prompts', metavar='FILE', help='a text file with one prompt per line, or '
                      'recdreamer: the 22 prompts of RecDreamer, with a rectifier also their '
                      'auxiliary phrases and poses (instead of config.prompt and these fields); '
                      'each gets a folder of its own below the workdir')


def complete(config):
  from jax3dgen.recipes.distill import config as distill_config
  return config if 'stages' in config else distill_config.complete(config)


def run(config, workdir, args):
  from jax3dgen.data import prompts as texts
  from jax3dgen.recipes.distill import config as distill_config
  from jax3dgen.recipes.distill import run as distill
  if 'stages' in config:
    from jax3dgen.recipes.refine import run as refine
    if args.prompts:
      raise ConfigError('A config with several stages takes one prompt, config.prompt.')
    command = shlex.join(['python', '-m', 'experiments.distill', *sys.argv[1:]])
    refine.run(config, workdir, args.allow_change, command)
    print(f'{workdir / "report.html"} shows the result; {workdir / "mesh.glb"} is the mesh.')
    return 0
  if not args.prompts:
    command = shlex.join(['python', '-m', 'experiments.distill', *sys.argv[1:]])
    distill.run(config, workdir, None, args.allow_change, command)
    print(f'{workdir / "report.html"} shows the result; {workdir / "mesh.glb"} is the mesh.')
    return 0
  if args.prompts == 'recdreamer':
    prompts = distill_config.recdreamer(config)
    for field, _ in _config.split(sys.argv[1:])[1]:
      if field in prompts[0]:
        raise ConfigError(f'--prompts=recdreamer sets config.{field} of each run itself.')
    if 'auxiliary' not in prompts[0]:
      print(f'The objective {config.distill.name!r} has no rectifier: it gets the texts of the '
            'prompts alone, without auxiliary phrases and poses.')
  else:
    prompts = texts.read(args.prompts, '--prompts')
  results = distill.run(
      config, workdir, prompts, args.allow_change,
      lambda folder, changes: _command.again('distill', args, folder, **changes))
  print(f'{sum(result is not None for result in results)} of {len(results)} prompts are in '
        f'{workdir}.')
  return 3 if None in results else 0


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/embedded.py', flags=flags, complete=complete)

"""Writes figurines with random lean and feet as GLB files, inputs of a stability sweep.

  python -m experiments.figurine_meshes --count 100 --workdir runs/figurines
"""

from experiments import _command


def flags(parser):
  parser.add_argument('--count', type=int, default=100, metavar='N', help='seeds 0 to N - 1')


def run(config, workdir, args):
  from jax3dgen.core.errors import ConfigError
  from jax3dgen.data import leaning
  from jax3dgen.export import mesh_io
  if args.count < 1:
    raise ConfigError(f'--count={args.count}: at least one figurine is needed.')
  workdir.mkdir(parents=True, exist_ok=True)
  for seed in range(args.count):
    mesh_io.write(workdir / f'{leaning.name(seed)}.glb', leaning.leaning(seed))
  print(f'{args.count} figurines are in {workdir}.')


if __name__ == '__main__':
  _command.main(run, __doc__, flags=flags)

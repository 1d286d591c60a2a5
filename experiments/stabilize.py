"""Deforms a mesh as little as possible so that it stands.

  python -m experiments.stabilize --config configs/stabilize.py --config.mesh=chair.glb \\
      --workdir runs/chair
  python -m experiments.stabilize --config configs/stabilize.py:study --workdir runs/stabilize

The first form writes mesh.glb, result.json and report.html to the workdir, the second stabilize.md
and stabilize.csv. Exit status: 0 the mesh stands, 3 it still falls.
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.core.errors import ConfigError
  from jax3dgen.export import mesh_io
  from jax3dgen.physics import body
  from jax3dgen.recipes.stability import stabilize
  from jax3dgen.train import workdir as workdirs
  command = shlex.join(['python', '-m', 'experiments.stabilize', *sys.argv[1:]])
  if bool(config.mesh) == bool(config.study.solids):
    raise ConfigError('Give config.mesh, the file to stabilise, or take the config\'s :study.')
  if config.mesh:  # a fault of the file leaves no workdir
    mesh = mesh_io.read(config.mesh, config.up)
    body.from_mesh(mesh)
    if mesh.notes:
      print(f'{config.mesh}: {"; ".join(mesh.notes)}.')
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, args.allow_change)
    if config.study.solids:
      rows = stabilize.study(config)
      stabilize.write_study(workdir, rows, command)
      print(f'{workdir / "stabilize.md"} has the table.')
      return 0
    figures = stabilize.run(config, workdir, command)
  verdict = 'stands' if figures['stable'] else 'still falls'
  print(f'{config.mesh} {verdict}, Chamfer distance {figures["chamfer"]:.4f} from the original; '
        f'{workdir / "report.html"} shows it.')
  return 0 if figures['stable'] else 3


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/stabilize.py')

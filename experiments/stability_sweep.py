"""Drops meshes, upright or tilted, in a physics simulation and reports which of them stand.

  python -m experiments.stability_sweep --config configs/stability_sweep.py \\
      --config.meshes='assets/**/*.glb' --workdir runs/sweep

The workdir receives results.csv (a row per mesh), runs.csv (a row per mesh and tilt) and
report.html; with --config.rollouts=N also rollouts/, a page with the 3D rollout of each of the N
meshes that fall most often. Reads GLB, GLTF, OBJ, STL, PLY, OFF and MJCF, whose bodies get a row
each. A file that cannot be simulated gets a row with the reason. results.csv grows as meshes are
judged; after a signal the same command goes on. Exit status: 0 all meshes were simulated, 3 some
were not, 130 or 143 stopped by SIGINT or SIGTERM.
"""

import os
import pathlib
import shlex
import sys
import time

from experiments import _command


def mesh_paths(meshes):
  """The paths of config.meshes: files, folders, patterns, or a text file of paths; ConfigError for
  none."""
  from jax3dgen.core import paths
  from jax3dgen.core.errors import ConfigError
  from jax3dgen.export import mesh_io
  if not meshes:
    raise ConfigError("config.meshes is empty: name the files, for example 'assets/**/*.glb'.")
  source = pathlib.Path(os.path.expanduser(meshes))
  suffixes = tuple(f'.{kind}' for kind in mesh_io.READABLE)
  if source.is_file() and source.suffix.lower() not in suffixes and _is_text(source):
    lines = source.read_text(encoding='utf-8', errors='surrogateescape').splitlines()
    files = paths.once([source.parent / os.path.expanduser(line) for line in lines if line.strip()])
  else:
    files = paths.find(meshes, suffixes)
  if not files:
    raise ConfigError(f'config.meshes={meshes!r} names no file.')
  return files


def _is_text(path):
  """Whether a file may be a list of paths, rather than a mesh of an unknown format."""
  with open(path, 'rb') as file:
    head = file.read(4096)
  return b'\0' not in head and not head.lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'<')


def run(config, workdir, args):
  from jax3dgen.core import parallel
  from jax3dgen.recipes.stability import sweep as stability_sweep
  from jax3dgen.train import workdir as workdirs
  parallel.initialize()
  paths = mesh_paths(config.meshes)
  stability_sweep.check(config)
  command = shlex.join(['python', '-m', 'experiments.stability_sweep', *sys.argv[1:]])
  start = time.monotonic()
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, args.allow_change)
    result = stability_sweep.run(config, paths, workdir, command)
  faults = sum(any(row['error'] for row in of_a_mesh) for of_a_mesh in zip(*result.rows.values()))
  for engine, table in result.rows.items():
    rates = [row['stable_rate'] for row in table if not row['error']]
    share = f'{sum(rates) / len(rates):.1%} of the releases stand' if rates else 'none was judged'
    print(f'{engine}: {share}.')
  count = len(result.items)
  print(f'{count - faults} of {count} meshes judged in {time.monotonic() - start:.0f} s; '
        f'{workdir / "report.html"} shows them.')
  return 3 if faults else 0


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/stability_sweep.py')

"""A stability sweep as a whole command: 200 figurines, 20 tilts, C MuJoCo at 4 ms.

  python -m benchmarks.sweep

Wall time of `python -m experiments.stability_sweep` from its start to its end, reading, hulls,
tables and page included; first on an empty compilation cache, then on a filled one. Processor time
is reported as well, as a measure of other load. The time to create the figurines does not count.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

from jax3dgen.core import machine

MESHES, TILTS, LIMIT = 200, 20, 60.0


def command(name, *args, cache):
  """(wall s, processor s) of `python -m experiments.NAME ARGS`."""
  began, before = time.monotonic(), os.times()
  subprocess.run([sys.executable, '-m', f'experiments.{name}', *map(str, args)], check=True,
                 env={**os.environ, 'JAX_COMPILATION_CACHE_DIR': str(cache)},
                 stdout=subprocess.DEVNULL)
  after = os.times()
  cpu = (after.children_user - before.children_user
         + after.children_system - before.children_system)
  return time.monotonic() - began, cpu


def run():
  """{'empty', 'filled': (wall s, processor s)}, by the state of the compilation cache."""
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    cache, meshes = folder / 'cache', folder / 'meshes'
    command('figurine_meshes', '--count', MESHES, '--workdir', meshes, cache=cache)
    return {state: command('stability_sweep', '--config', 'configs/stability_sweep.py',
                           f'--config.meshes={meshes}/*.glb', f'--config.tilts.n={TILTS}',
                           '--workdir', folder / state, cache=folder / 'fresh')
            for state in ('empty', 'filled')}


def main():
  print(f'load average {os.getloadavg()[0]:.1f}; {MESHES} meshes x {TILTS} tilts, '
        f'{machine.cores()} cores')
  for state, (wall, cpu) in run().items():
    print(f'{state} cache: {wall:.1f} s (goal {LIMIT:.0f} s), {cpu:.0f} s of processor time')


if __name__ == '__main__':
  main()

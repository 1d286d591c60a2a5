"""Memory and start-up of the demo: a short run of its config, twice, on an empty cache.

  python -m benchmarks.demo
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

from jax3dgen.core import machine

STEPS = 100
LIMIT_GB, LIMIT_START = 3.0, 15.0


def start(workdir, cache):
  """(seconds to the first finished step, peak resident gigabytes) of the demo in `workdir`."""
  began = time.monotonic()
  process = subprocess.Popen(
      [sys.executable, '-m', 'experiments.distill', '--config', 'configs/embedded.py',
       f'--config.train.steps={STEPS}', '--workdir', str(workdir)],
      env={**os.environ, 'JAX_COMPILATION_CACHE_DIR': str(cache)}, stdout=subprocess.DEVNULL)
  first = None
  while process.poll() is None and first is None:
    rows = (workdir / 'metrics.csv').read_text() if (workdir / 'metrics.csv').exists() else ''
    first = time.monotonic() - began if '\n1,' in rows else None
    time.sleep(0.05)
  _, status, usage = os.wait4(process.pid, 0)
  if status or first is None:
    raise RuntimeError(f'the demo ended with status {os.waitstatus_to_exitcode(status)}')
  return first, machine.resident(usage) / 1e9


def run():
  """{'cold': (seconds, GB), 'warm': (seconds, GB)}."""
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    return {name: start(folder / name, folder / 'cache') for name in ('cold', 'warm')}


def main():
  print(f'load average {os.getloadavg()[0]:.1f}; {STEPS} steps of the demo')
  for name, (seconds, memory) in run().items():
    print(f'{name} cache: first step after {seconds:.1f} s, peak memory {memory:.2f} GB')
  print(f'goals: {LIMIT_START:.0f} s on a warm cache, {LIMIT_GB:.0f} GB')


if __name__ == '__main__':
  main()

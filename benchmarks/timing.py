"""Timing on shared machines: functions take turns in processes pinned to cores."""

import json
import os
import statistics
import subprocess
import sys
import time

from jax3dgen.core import launch


def interleaved(functions, turns):
  """{name: (processor ms, wall ms)} of functions that take turns: lower quartiles.

  A quarter of the turns stays below them; other loads on the machine disturb those least. On one
  core processor time is what counts, on two cores wall time.
  """
  return {name: tuple(1e3 * statistics.quantiles(column, n=4)[0] for column in zip(*rows))
          for name, rows in in_turn(functions, turns).items()}


def medians(functions, turns):
  """{name: (processor s, wall s)} of functions that take turns: medians."""
  return {name: tuple(map(statistics.median, zip(*rows)))
          for name, rows in in_turn(functions, turns).items()}


def in_turn(functions, turns):
  """{name: [(processor s, wall s)] of `turns` calls}, after one that does not count."""
  for function in functions.values():
    function()
  times = {name: [] for name in functions}
  for _ in range(turns):
    for name, function in functions.items():
      cpu, wall = time.process_time(), time.perf_counter()
      function()
      times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
  return times


def pinned(module, cores, *args):
  """The JSON that `python -m module ARGS` prints last, run on `cores` cores of this machine.

  It is a fresh process that has the launcher's malloc settings from its start. macOS cannot pin a
  process: only its number of threads is limited there, with a notice.
  """
  pin = None
  if hasattr(os, 'sched_setaffinity'):
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    pin = lambda: os.sched_setaffinity(0, allowed)
  else:
    print('This system does not pin processes to cores.', file=sys.stderr)
  env = {**os.environ, **launch.MALLOC, 'JAX_PLATFORMS': 'cpu', 'OMP_NUM_THREADS': str(cores)}
  done = subprocess.run([sys.executable, '-m', module, *map(str, args)], env=env, check=True,
                        stdout=subprocess.PIPE, text=True, preexec_fn=pin)
  return json.loads(done.stdout.splitlines()[-1])

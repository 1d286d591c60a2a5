"""Starts Python modules of the tests as processes of their own, alone or as one run of several."""

import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIMEOUT = 300


def start(module, *args, devices=2, **env):
  """A process running `python -m module args` from the repository with `devices` CPU devices."""
  settings = os.environ | {'JAX_NUM_CPU_DEVICES': str(devices), 'JAX_PLATFORMS': 'cpu'} | env
  return subprocess.Popen(
      [sys.executable, '-m', module, *map(str, args)], cwd=ROOT, env=settings, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def start_group(module, *args, count=2):
  """`count` processes that run `module` together."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{probe.getsockname()[1]}'
  return [start(module, *args, JAX_COORDINATOR_ADDRESS=address,
                JAX_NUM_PROCESSES=str(count), JAX_PROCESS_ID=str(i)) for i in range(count)]


def finish(*processes):
  """[(exit status, output)] of the processes; none is left behind."""
  try:
    return [(p.wait(TIMEOUT), p.stdout.read()) for p in processes]
  finally:
    for p in processes:
      p.kill()
      p.wait()
      p.stdout.close()

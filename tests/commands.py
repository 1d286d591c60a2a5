"""Running the commands as a user does: a new process, its exit status, its words, its files."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIMEOUT = 600


def environment(**extra):
  """This environment without the tests' own number of devices."""
  env = {k: v for k, v in os.environ.items()
         if k not in ('JAX_NUM_CPU_DEVICES', 'XLA_FLAGS', 'JAX3DGEN_LAUNCHED')}
  return env | {'PYTHONPATH': str(ROOT)} | extra


def arguments(name, *args, python=()):
  return [sys.executable, *python, '-m', f'experiments.{name}', *map(str, args)]


def run(name, *args, cwd=ROOT, env=None, python=(), prefix=()):
  """The finished process of `python -m experiments.NAME ARGS`, its output as text."""
  return subprocess.run([*prefix, *arguments(name, *args, python=python)], cwd=cwd,
                        env=env or environment(), capture_output=True, text=True, timeout=TIMEOUT,
                        check=False)


def distill(workdir, *args, **kwargs):
  """The README's command with the tiny config."""
  return run('distill', '--config', ROOT / 'configs' / 'embedded.py:tiny', '--workdir', workdir,
             *args, **kwargs)


def interrupt(workdir, when, number, *args):
  """Starts the tiny run, sends signal `number` as soon as `when()` holds; returns its status."""
  process = subprocess.Popen(
      arguments('distill', '--config', ROOT / 'configs' / 'embedded.py:tiny', '--workdir', workdir,
                *args), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL)
  deadline = time.monotonic() + TIMEOUT
  try:
    while not when():
      assert process.poll() is None, f'the run ended before the moment came ({process.returncode})'
      assert time.monotonic() < deadline
      time.sleep(0.002)
    process.send_signal(number)
    return process.wait(TIMEOUT)
  finally:
    process.kill()
    process.wait()


def kill(workdir, when, *args):
  assert interrupt(workdir, when, signal.SIGKILL, *args) == -signal.SIGKILL


def result(workdir):
  return json.loads((pathlib.Path(workdir) / 'result.json').read_text())


def steps_logged(workdir):
  """The last step in metrics.csv, 0 where there is none yet."""
  try:
    lines = (pathlib.Path(workdir) / 'metrics.csv').read_text().splitlines()
  except FileNotFoundError:
    return 0
  numbers = [int(line.split(',')[0]) for line in lines[1:] if line.split(',')[0].isdigit()]
  return max(numbers, default=0)

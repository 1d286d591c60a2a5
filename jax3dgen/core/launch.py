"""The environment variables of a run on CPUs; a command re-executes itself once to set them.

glibc (Linux) reads its malloc settings before Python runs, so they need a new process. They keep
large temporaries mapped between steps instead of returning and faulting them in again, which is
worth up to 2.3x on a CPU. Imports nothing beyond the standard library, so that a command can
decide before jax is loaded.
"""

import os
import pathlib
import sys

HOST_DEVICES = 2  # always: another number draws other noise
GUARD = 'JAX3DGEN_LAUNCHED'
MALLOC = {
    'MALLOC_ARENA_MAX': '1',
    'MALLOC_MMAP_MAX_': '0',
    'MALLOC_TRIM_THRESHOLD_': str(2**34),
}


def cache_folder(env):
  """The folder of the compilation cache, created where missing; None if it is not writable."""
  home = env.get('XDG_CACHE_HOME') or os.path.join(
      env.get('HOME') or os.path.expanduser('~'), '.cache')
  folder = pathlib.Path(home) / 'jax3dgen' / 'xla'
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return None
  return str(folder) if os.access(folder, os.W_OK | os.X_OK) else None


def without_host_count(flags):
  """XLA_FLAGS without the number of host devices, which jax refuses beside its own setting."""
  return ' '.join(f for f in flags.split()
                  if not f.startswith('--xla_force_host_platform_device_count'))


def environment(env=os.environ):
  """The variables that a run sets in `env`; malloc, cache and warning settings of the user stay."""
  malloc = MALLOC if sys.platform == 'linux' else {}
  settings = {name: env.get(name, value) for name, value in malloc.items()}
  settings['JAX_NUM_CPU_DEVICES'] = str(HOST_DEVICES)
  if 'XLA_FLAGS' in env:
    settings['XLA_FLAGS'] = without_host_count(env['XLA_FLAGS'])
  # transformers warns at import that PyTorch is missing, which is not needed here.
  settings['TRANSFORMERS_NO_ADVISORY_WARNINGS'] = env.get('TRANSFORMERS_NO_ADVISORY_WARNINGS', '1')
  folder = env.get('JAX_COMPILATION_CACHE_DIR') or cache_folder(env)
  if folder:
    settings['JAX_COMPILATION_CACHE_DIR'] = folder
    settings['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = env.get(
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  return settings


def missing(env=os.environ):
  """The settings of `environment` that are absent from `env` or differ there."""
  return {name: value for name, value in environment(env).items() if env.get(name) != value}


def reexecute():
  """Replaces the process by the same command under `environment`; returns if nothing is missing.

  Interpreter, options, arguments and process id stay. The guard variable lists the settings and
  prevents a second time, even if a wrapper changes the environment in between.
  """
  settings = missing()
  if not settings or GUARD in os.environ or not sys.executable or os.name != 'posix':
    return
  sys.stdout.flush()
  sys.stderr.flush()
  os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]],
            os.environ | settings | {GUARD: ' '.join(settings)})

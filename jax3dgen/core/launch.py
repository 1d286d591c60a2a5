"""The environment of a run on CPUs, and how a command gets it: it starts itself again, once.

glibc reads its malloc settings before Python runs, so they can only be had by a new process. They
keep large temporaries mapped between steps instead of returning and faulting them in again, which
is worth up to 2.3x on a CPU. Imports nothing beyond the standard library, so that a command can
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
  """Where compiled programs are kept, created if need be; None where it cannot be written."""
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
  """The settings that a run needs on top of `env`; what the user chose for speed or place stays."""
  wanted = {name: env.get(name, value) for name, value in MALLOC.items()}
  wanted['JAX_NUM_CPU_DEVICES'] = str(HOST_DEVICES)
  if 'XLA_FLAGS' in env:
    wanted['XLA_FLAGS'] = without_host_count(env['XLA_FLAGS'])
  # transformers says at import that it misses PyTorch, which nothing here needs.
  wanted['TRANSFORMERS_NO_ADVISORY_WARNINGS'] = env.get('TRANSFORMERS_NO_ADVISORY_WARNINGS', '1')
  folder = env.get('JAX_COMPILATION_CACHE_DIR') or cache_folder(env)
  if folder:
    wanted['JAX_COMPILATION_CACHE_DIR'] = folder
    wanted['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = env.get(
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
  return wanted


def missing(env=os.environ):
  """The settings of `environment` that `env` lacks or has otherwise."""
  return {name: value for name, value in environment(env).items() if env.get(name) != value}


def reexecute():
  """Starts the same command again with `environment` in place; returns where it already is.

  The same interpreter, options, arguments and process id. The guard variable lists what was set and
  makes sure that it happens once, whatever a wrapper does to the environment in between.
  """
  settings = missing()
  if not settings or GUARD in os.environ or not sys.executable or os.name != 'posix':
    return
  sys.stdout.flush()
  sys.stderr.flush()
  os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]],
            os.environ | settings | {GUARD: ' '.join(settings)})

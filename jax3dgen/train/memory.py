"""Device memory: free bytes, whether a step fits, and errors where memory is exhausted."""

import contextlib
import os
import pathlib
import re
import resource

import jax

from jax3dgen.core import errors, parallel
from jax3dgen.train import cost as costs

GIB = 2**30


def free_memory():
  """Bytes that this process may still allocate on each of its devices."""
  device = jax.local_devices()[0]
  stats = device.memory_stats()
  if device.platform != 'cpu' and stats and 'bytes_limit' in stats:
    return stats['bytes_limit'] - stats['bytes_in_use']
  free = os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  meminfo = pathlib.Path('/proc/meminfo')
  if meminfo.exists():
    free = int(re.search(r'MemAvailable:\s+(\d+)', meminfo.read_text()).group(1)) * 1024
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
      used = int(pathlib.Path('/proc/self/statm').read_text().split()[0])
      free = min(free, limit - used * os.sysconf('SC_PAGE_SIZE'))
  return free // jax.local_device_count()  # CPU devices share the host's memory


def check_memory(cost, free=None):
  """Prints the cost of one step; ConfigError where its memory exceeds the free memory.

  `cost` is `parallel.cost(...)`; `free`, bytes on each device, is measured by default. Of several
  processes the least free memory counts.
  """
  free = parallel.least(free_memory() if free is None else free)
  sentence = (f'One step needs {cost.beside / GIB:.2f} GiB on each device beside its arguments; '
              f'{max(free, 0) / GIB:.2f} GiB are free')
  if cost.beside > free:
    raise errors.ConfigError(f'{sentence}. {LESS}')
  if parallel.is_main():
    print(f'{sentence}.', *costs.sentences(cost), flush=True)


LESS = 'Lower config.train.batch, the size of the renders or their samples per ray.'


@contextlib.contextmanager
def memory_errors():
  """Turns the device's RESOURCE_EXHAUSTED into a ConfigError that says what to lower."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise errors.ConfigError(f'The memory of a device is exhausted. {LESS}') from error


def halve_once(function, chunk):
  """`function(chunk)`; where memory is exhausted, `function(chunk // 2)`, then a ConfigError.

  For work whose result does not depend on `chunk`, such as rays rendered together.
  """
  try:
    return function(chunk)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error) or chunk < 2:
      raise
  print(f'The memory of a device is exhausted by a chunk of {chunk}; trying {chunk // 2}.',
        flush=True)
  with memory_errors():
    return function(chunk // 2)

def peak():
  """Bytes: the largest resident set of this process, or a device's peak where that is larger."""
  host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  return max([host] + [s.get('peak_bytes_in_use', 0) for s in stats])

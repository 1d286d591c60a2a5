"""Device memory: free bytes, whether a step fits, and errors where memory is exhausted."""

import contextlib
import math
import resource

import jax

from jax3dgen.core import errors, machine, parallel
from jax3dgen.train import cost as costs

GIB = 2**30


def free_memory():
  """Bytes that this process may still allocate on each of its devices; None where the system does
  not tell."""
  device = jax.local_devices()[0]
  stats = device.memory_stats()
  if device.platform != 'cpu' and stats and 'bytes_limit' in stats:
    return stats['bytes_limit'] - stats['bytes_in_use']
  free = machine.free_memory()
  return None if free is None else free // jax.local_device_count()  # CPU devices share it


def check_memory(cost, free=None):
  """Prints the cost of one step; ConfigError where its memory exceeds the free memory.

  `cost` is `parallel.cost(...)`; `free`, bytes on each device, is measured by default, and no limit
  where it is not known. Of several processes the least free memory counts.
  """
  free = free_memory() if free is None else free
  free = parallel.least(math.inf if free is None else float(free))
  known = 'unknown memory is' if free == math.inf else f'{max(free, 0) / GIB:.2f} GiB are'
  sentence = (f'One step needs {cost.beside / GIB:.2f} GiB on each device beside its arguments; '
              f'{known} free')
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
  host = machine.resident(resource.getrusage(resource.RUSAGE_SELF))
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  return max([host] + [s.get('peak_bytes_in_use', 0) for s in stats])

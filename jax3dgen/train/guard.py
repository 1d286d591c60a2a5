"""What keeps a run from harm: one process per workdir, one config per workdir, a way to stop, and
a look at the memory before the first step."""

from collections.abc import Callable
import contextlib
import fcntl
import json
import os
import pathlib
import re
import resource
import signal
import threading
from typing import NamedTuple

import jax
from jax.experimental import multihost_utils

from jax3dgen.core import errors, files, parallel
from jax3dgen.train import estimate

FREE = r'^(log|checkpoint)\.'  # fields that may change between the parts of a run
GIB = 2**30


class Guard(NamedTuple):
  """When `loop.run` stops by itself.

  `watchdog(step, metrics)` returns a sentence when the run has collapsed, else None;
  `max_skipped` is the length of a run of skipped (non-finite) steps that ends it, as counted in
  metrics['skipped'].
  """
  watchdog: Callable = lambda step, metrics: None
  max_skipped: int = 20


DEFAULT = Guard()


class Preemption:
  """Within it, SIGTERM and SIGINT ask the run to stop; a second SIGINT interrupts at once.

  In a run of several processes SIGTERM to any one of them is passed on by JAX's coordination
  service, so that all stop after the same step.
  """

  def __enter__(self):
    self.signal, self._old = 0, {}
    if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._old[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_):
    for number, handler in self._old.items():
      signal.signal(number, handler)

  def _note(self, number, frame):
    if self.signal and number == signal.SIGINT:
      raise KeyboardInterrupt
    self.signal = number

  def requested(self, step):
    """Whether to stop after `step`; the same answer in all processes."""
    if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
      self.signal = signal.SIGTERM
    return self.signal != 0

  @property
  def status(self):
    """The exit status of a process that a signal has stopped: 143 for SIGTERM."""
    return 128 + self.signal


@contextlib.contextmanager
def writing(path):
  """Turns a refused or failed write below `path` into a ConfigError that says why."""
  try:
    yield
  except OSError as error:
    raise errors.ConfigError(f'{path} cannot be written: {error.strerror or error}.') from error


@contextlib.contextmanager
def lock(workdir):
  """Makes `workdir` and holds it while the block runs; any second process is refused."""
  held = []
  parallel.from_main(lambda: held.append(_take(pathlib.Path(workdir))))
  try:
    yield
  finally:
    for file in held:
      file.close()


def _take(workdir):
  with writing(workdir):
    workdir.mkdir(parents=True, exist_ok=True)
    file = open(workdir / '.lock', 'a')
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    file.close()
    raise errors.CheckpointError(f'Another process is using {workdir}; wait for it or choose '
                                 'another --workdir.') from error
  except OSError as error:
    print(f'{workdir} is on a file system without locks ({error.strerror}); make sure that no '
          'second run uses it.', flush=True)
  return file


def _flatten(value, prefix=''):
  if not isinstance(value, dict) or not value:
    return {prefix: value}
  out = {}
  for name, part in value.items():
    out |= _flatten(part, f'{prefix}.{name}' if prefix else str(name))
  return out


def check_config(workdir, config, allow_change=False):
  """Writes config.json, or compares it with the one that the workdir was started with.

  `train.steps` may grow and log.* and checkpoint.* may change; anything else, and another number of
  devices, is refused with a table unless `allow_change`.
  """
  plain = config.to_dict() if hasattr(config, 'to_dict') else dict(config)
  plain = json.loads(json.dumps(plain | {'devices': parallel.device_count()}))
  parallel.from_main(lambda: _check(pathlib.Path(workdir) / 'config.json', plain, allow_change))


def _check(path, new, allow_change):
  old = _read(path, allow_change)
  if old is not None:
    _compare(path.parent, _flatten(old), _flatten(new), allow_change)
  with writing(path), files.replacing(path) as beside:
    beside.write_text(json.dumps(new, indent=2, sort_keys=True) + '\n', encoding='utf-8')


def _read(path, allow_change):
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    return None
  except ValueError as error:
    if allow_change:
      return None
    raise errors.ConfigError(
        f'{path} is damaged ({error}), so nothing says which config its run had; give '
        '--allow_change to go on with the one given, or choose another --workdir.') from error


def _compare(workdir, old, new, allow_change):
  barred = [k for k in sorted(old.keys() | new.keys())
            if old.get(k) != new.get(k) and not _allowed(k, old.get(k), new.get(k))]
  if not barred:
    return
  rows = [('field', 'was', 'is now')] + [
      (k, *(repr(c[k]) if k in c else 'absent' for c in (old, new))) for k in barred]
  widths = [max(len(row[i]) for row in rows) for i in range(3)]
  table = '\n'.join('  ' + '  '.join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows)
  if not allow_change:
    raise errors.ConfigError(
        f'{workdir} belongs to another config; give --allow_change to go on with the new one, or '
        f'choose another --workdir.\n{table}')
  print(f'Going on in {workdir} with a changed config:\n{table}', flush=True)
  if 'devices' in barred:
    print('On another number of devices the restored state is equal, but later noise differs.',
          flush=True)


def _allowed(key, old, new):
  longer = key == 'train.steps' and old is not None and new is not None and new >= old
  return longer or re.match(FREE, key) is not None


def share_batch(batch):
  """The number of devices of all processes, which must divide config.train.batch evenly."""
  count = parallel.device_count()
  if batch % count:
    raise errors.ConfigError(f'config.train.batch={batch} cannot be shared evenly by {count} '
                             'devices.')
  return count


def free_memory():
  """Bytes that this process may still take on each of its devices."""
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
  """Says what one step holds, needs and computes; refuses a step that cannot fit.

  `cost` is `parallel.cost(...)`; `free`, bytes on each device, is measured by default. Of several
  processes the one with the least memory decides for all.
  """
  free = parallel.least(free_memory() if free is None else free)
  sentence = (f'One step needs {cost.beside / GIB:.2f} GiB on each device beside its arguments; '
              f'{max(free, 0) / GIB:.2f} GiB are free')
  if cost.beside > free:
    raise errors.ConfigError(f'{sentence}. {LESS}')
  if parallel.is_main():
    print(f'{sentence}.', *estimate.sentences(cost), flush=True)


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

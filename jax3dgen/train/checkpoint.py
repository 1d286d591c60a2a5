"""Atomic checkpoints with checksums, written by Orbax in the background.

Orbax writes beside and renames when complete. It restores a flipped byte silently, so every step
also holds the sha256, shape and dtype of every leaf, and a step that does not match is skipped in
favour of the one before. An error of the file system is no damage: reading and writing are tried
again, then it is reported, and nothing is moved.
"""

import errno
import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
import time

import jax
import numpy as np
from orbax import checkpoint as ocp

from jax3dgen.core import errors, parallel
from jax3dgen.core import tree as trees

DAMAGED = 'damaged'  # folder of the steps that failed their check
TEMPORARY = '*.orbax-checkpoint-tmp*'
WAITS = (0.5, 2.0, 8.0)  # seconds before each further try where the file system fails
# Errors of the system that an incomplete or damaged file causes; all others are of the file system.
OF_DAMAGE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG}

# Orbax logs the traceback of each failure several times; the exception that it raises as well is
# reported here as one sentence.
logging.getLogger('absl').addFilter(lambda record: f'{os.sep}orbax{os.sep}' not in record.pathname)


def _fingerprint(array):
  """[dtype, shape, sha256 of the bytes] of a host array."""
  flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
  return [array.dtype.name, list(array.shape), hashlib.sha256(flat).hexdigest()]


def _seal(record):
  """sha256 of a JSON record."""
  return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


class Checkpoints:
  """The checkpoints of one run: `folder` keeps the newest `keep` steps, with the run's config.

  In a run of several processes all call every method; only process 0 accesses the folder.
  """

  def __init__(self, folder, keep, config_json='{}'):
    self._folder = pathlib.Path(folder).absolute()
    self._config = config_json
    self._manager, self._last = None, None  # (step, items) of the last save
    parallel.from_main(lambda: self._open(keep))

  def _open(self, keep):
    try:
      self._folder.mkdir(parents=True, exist_ok=True)
      for leftover in self._folder.glob(TEMPORARY):
        shutil.rmtree(leftover)
    except OSError as error:
      raise errors.CheckpointError(
          f'{self._folder} cannot be used for checkpoints: {_reason(error)}.') from error
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=False, enable_async_checkpointing=True,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}))
    self._manager = ocp.CheckpointManager(self._folder, options=options)

  def _steps(self):
    """Steps on disk, the newest first."""
    return sorted((int(p.name) for p in self._folder.iterdir() if p.name.isdigit()), reverse=True)

  def save(self, step, state):
    """Starts writing the host tree `state` as `step`, after the save before, whose error it raises.

    The arrays must not change until `wait` or the next `save` returns.
    """
    parallel.from_main(lambda: self._save(step, state))

  def _save(self, step, state):
    self._write(self._manager.wait_until_finished)
    flat = {name: np.asarray(leaf) for name, leaf in trees.named(state).items()}
    record = {'step': step, 'config': self._config,
              'leaves': {name: _fingerprint(x) for name, x in flat.items()}}
    items = ocp.args.Composite(  # orbax refuses arrays without elements
        state=ocp.args.StandardSave({name: x for name, x in flat.items() if x.size}),
        record=ocp.args.JsonSave({'record': record, 'seal': _seal(record)}))
    self._last = step, items
    self._write(self._start)

  def _start(self):
    step, items = self._last
    self._manager.save(step, args=items, force=True)

  def _again(self):
    if self._last[0] not in self._steps():
      self._manager.reload()  # a failed save has forgotten the steps that it would delete
      self._start()
    self._manager.wait_until_finished()

  def _write(self, action):
    """`action`; where the file system fails, the last save again after WAITS, then an error."""
    for wait in (*WAITS, None):
      try:
        return action()
      except Exception as error:  # orbax re-raises its writers' errors, of many classes
        if wait is None or self._last is None or _system_code(error) is None:
          whole = self._steps()
          rest = f'the one of step {whole[0]} is kept' if whole else 'there is no earlier one'
          raise errors.CheckpointError(
              f'A checkpoint could not be written to {self._folder}: {_reason(error)}; {rest}.'
          ) from error
        print(f'A checkpoint could not be written ({_reason(error)}); trying again.', flush=True)
      time.sleep(wait)
      action = self._again

  def restore(self, target):
    """(step, state as numpy arrays) of the newest whole checkpoint, or None where there is none.

    `target` is a tree of the same structure, shapes and dtypes (arrays or ShapeDtypeStructs).
    Newer steps that are damaged are moved to DAMAGED, with a message. CheckpointError, which leaves
    all as it is, where the file system fails repeatedly, where the newest whole step has another
    structure, and where no step is whole.
    """
    result = []

    def search():
      try:
        result.extend(self._newest_whole(target) or ())
      except OSError as error:
        raise errors.CheckpointError(
            f'The checkpoints in {self._folder} cannot be used: {_reason(error)}.') from error
      return result[0] if result else None
    step = parallel.from_main(search)
    if step is None:
      return None
    return step, parallel.tree_from_main(result[1] if result else None, target)

  def _newest_whole(self, target):
    faults = {}
    for step in self._steps():
      try:
        state = self._read_patiently(step, target)
      except errors.CheckpointError:
        raise
      except Exception as error:  # readers of a damaged file raise many classes
        faults[step] = _reason(error)
        continue
      for bad, why in faults.items():
        print(f'The checkpoint of step {bad} is damaged ({why}); going on from step {step}.',
              flush=True)
        self._set_aside(bad)
      return step, state
    if faults:
      listed = '; '.join(f'step {step}: {why}' for step, why in faults.items())
      raise errors.CheckpointError(f'No checkpoint in {self._folder} is whole ({listed}).')
    return None

  def _read_patiently(self, step, target):
    """`_read`, tried again after WAITS where the file system fails, and then a CheckpointError."""
    for wait in (*WAITS, None):
      try:
        return self._read(step, target)
      except Exception as error:
        code = _system_code(error) or _unreadable(self._folder / str(step))
        if code is None:
          raise
        if wait is None:
          raise errors.CheckpointError(
              f'The checkpoint of step {step} in {self._folder} cannot be read: '
              f'{os.strerror(code)}; nothing was changed. Repeat the command when the file system '
              'works again.') from error
      time.sleep(wait)

  def _read(self, step, target):
    item = self._manager.restore(
        step, args=ocp.args.Composite(record=ocp.args.JsonRestore()))['record']
    record = item['record']
    if _seal(record) != item['seal']:
      raise ValueError('its record does not match its checksum')
    expected = {name: [np.dtype(x.dtype).name, list(x.shape)]
                for name, x in trees.named(target).items()}
    stored = {name: fingerprint[:2] for name, fingerprint in record['leaves'].items()}
    if expected != stored:
      raise errors.CheckpointError(f'The checkpoint of step {step} in {self._folder} is of another '
                                   f'state: {_difference(stored, expected)}.')
    flat = self._manager.restore(
        step, args=ocp.args.Composite(state=ocp.args.StandardRestore()))['state']
    leaves = []
    for name, (dtype, shape) in expected.items():
      leaf = np.asarray(flat[name]) if 0 not in shape else np.zeros(shape, dtype)
      if _fingerprint(leaf) != record['leaves'][name]:
        raise ValueError(f'{name} does not match its checksum')
      leaves.append(leaf)
    return jax.tree.unflatten(jax.tree.structure(target), leaves)

  def _set_aside(self, step):
    aside = self._folder / DAMAGED
    aside.mkdir(exist_ok=True)
    shutil.rmtree(aside / str(step), ignore_errors=True)
    os.replace(self._folder / str(step), aside / str(step))
    self._manager.reload()

  def wait(self):
    """Returns when the last save is complete."""
    parallel.from_main(lambda: self._write(self._manager.wait_until_finished))

  def close(self):
    """Waits for the last save and closes the manager.

    Communicates with no other process, so that it may follow an error of this process alone.
    """
    if self._manager is not None:
      self._write(self._manager.wait_until_finished)
      self._manager.close()


def _difference(stored, expected):
  names = [n for n in sorted(stored.keys() | expected.keys()) if stored.get(n) != expected.get(n)]
  lines = [f'{n} is {_text(stored.get(n))}, expected {_text(expected.get(n))}' for n in names]
  more = f' and {len(lines) - 3} more' if len(lines) > 3 else ''
  return ', '.join(lines[:3]) + more


def _text(leaf):
  return 'absent' if leaf is None else f'{leaf[0]}{leaf[1]}'


def _system_code(error):
  """The errno of the failed file system or memory behind `error`, or None where there is none."""
  while error is not None:
    code = re.search(r"os_error_code='(\d+)'", str(error))  # of tensorstore
    number = (errno.ENOMEM if isinstance(error, MemoryError) else
              error.errno if isinstance(error, OSError) else code and int(code.group(1)))
    if number is not None and number not in OF_DAMAGE:
      return number
    error = error.__cause__ or error.__context__
  return None


def _unreadable(folder):
  """The errno of the first file or folder below `folder` whose state the system does not tell.

  Orbax reports such a file as missing.
  """
  failures = []
  for parent, _, names in os.walk(folder, onerror=failures.append):
    for name in names:
      try:
        os.stat(os.path.join(parent, name))
      except OSError as error:
        failures.append(error)
  return next((error.errno for error in failures if error.errno not in OF_DAMAGE), None)


def _reason(error):
  """The error as one line: the message of the operating system where it is a system error."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  text = str(error).strip() or type(error).__name__
  code = re.search(r"os_error_code='(\d+)'", text)
  return os.strerror(int(code.group(1))) if code else text.splitlines()[0][:200]

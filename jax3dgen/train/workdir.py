"""The working directory of a run: locked by one process, and tied to one config."""

import contextlib
import fcntl
import json
import pathlib
import re

from jax3dgen.core import errors, files, parallel, tree

FREE = r'^(log|checkpoint)\.'  # fields that may change when a run is resumed


@contextlib.contextmanager
def writing(path):
  """Turns a refused or failed write below `path` into a ConfigError that says why."""
  try:
    yield
  except OSError as error:
    raise errors.ConfigError(f'{path} cannot be written: {error.strerror or error}.') from error


@contextlib.contextmanager
def lock(workdir):
  """Creates `workdir` and locks it during the block; CheckpointError in a second process."""
  locks = []
  parallel.from_main(lambda: locks.append(_take(pathlib.Path(workdir))))
  try:
    yield
  finally:
    for file in locks:
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


def refuse_other_config(workdir, config):
  """The errors of `lock` and `check_config`; writes nothing and makes no folder."""
  path, new = pathlib.Path(workdir) / 'config.json', _plain(config)

  def refuse():
    if path.with_name('.lock').exists():
      _take(path.parent).close()
    _compare(path.parent, _read(path), new)
  parallel.from_main(refuse)


def check_config(workdir, config, allow_change=False):
  """Writes config.json, or compares the config with that of the workdir.

  `train.steps` may grow and log.* and checkpoint.* may change; anything else, and another number of
  devices, is refused with a table unless `allow_change`. So is a longer run whose schedules are
  shares of it: their steps are others.
  """
  path, new = pathlib.Path(workdir) / 'config.json', _plain(config)
  parallel.from_main(lambda: _check(path, new, allow_change))


def _plain(config):
  plain = config.to_dict() if hasattr(config, 'to_dict') else dict(config)
  return json.loads(json.dumps(plain | {'devices': parallel.device_count()}))


def _check(path, new, allow_change):
  _compare(path.parent, _read(path, allow_change), new, allow_change)
  with writing(path), files.replacing(path) as beside:
    beside.write_text(json.dumps(new, indent=2, sort_keys=True) + '\n', encoding='utf-8')


def _read(path, allow_change=False):
  with writing(path.parent):
    try:
      text = path.read_bytes()
    except FileNotFoundError:
      return None
  try:
    return json.loads(text)
  except ValueError as error:
    if allow_change:
      return None
    raise errors.ConfigError(
        f'{path} is damaged ({error}), so nothing says which config its run had; give '
        '--allow_change to go on with the one given, or choose another --workdir.') from error


def _compare(workdir, old, new, allow_change=False):
  if old is None:
    return
  old, new = tree.flatten(old), tree.flatten(new)
  changes = [k for k in sorted(old.keys() | new.keys())
             if old.get(k) != new.get(k) and not _allowed(k, old.get(k), new.get(k))]
  if not changes:
    return
  rows = [('field', 'was', 'is now')] + [
      (k, *(repr(c[k]) if k in c else 'absent' for c in (old, new))) for k in changes]
  widths = [max(len(row[i]) for row in rows) for i in range(3)]
  table = '\n'.join('  ' + '  '.join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows)
  if not allow_change:
    raise errors.ConfigError(
        f'{workdir} belongs to another config; give --allow_change to go on with the new one, or '
        f'choose another --workdir.\n{table}')
  print(f'Going on in {workdir} with a changed config:\n{table}', flush=True)
  if 'devices' in changes:
    print('On another number of devices the restored state is equal, but later noise differs.',
          flush=True)


def _allowed(key, old, new):
  longer = key == 'train.steps' and old is not None and new is not None and new >= old
  return longer or re.match(FREE, key) is not None

"""Published files on disk: the hub's cache, JSON, and what a download left instead of a file.

Every fault raises a WeightError.
"""

import json
import os
import pathlib

from jax3dgen.core.errors import WeightError

LFS = b'version https://git-lfs.github.com/spec/'  # how a pointer of Git LFS begins
HTML = (b'<!doctype html', b'<html')
HEAD = 512  # bytes that tell a substitute from a file


def resolve(path):
  """The path with ~ as the home directory; of a folder `models--owner--name` of the hub's cache,
  the snapshot that refs/main names, or its only one."""
  path = pathlib.Path(os.path.expanduser(path))
  if not (path / 'snapshots').is_dir():
    return path
  names = sorted(folder.name for folder in (path / 'snapshots').iterdir() if folder.is_dir())
  main = path / 'refs' / 'main'
  try:
    name = main.read_text(encoding='utf-8').strip()
  except FileNotFoundError:
    name = names[0] if len(names) == 1 else None
  except (OSError, ValueError) as error:
    raise WeightError(f'{main} cannot be read ({error}).') from error
  if name not in names:
    raise WeightError(f"{path} is a folder of the hub's cache whose refs/main names no snapshot in "
                      f'it; there are {", ".join(names) or "none"}: name one of them, or download '
                      'the model again.')
  return path / 'snapshots' / name


def substitute(head):
  """What a file is, by its first HEAD bytes, where it stands for one that was not downloaded: a
  sentence without its subject; None for any other file."""
  if head.startswith(LFS):
    return ('is a pointer of Git LFS, not the file itself: run `git lfs pull` in its repository, '
            'or download the file')
  if head.removeprefix(b'\xef\xbb\xbf').lstrip().lower().startswith(HTML):
    return ('is a web page, not the file itself: the download was answered with a page, perhaps '
            'of a login; download the file again')
  return None


def refuse_substitute(path):
  """WeightError where `path` cannot be read or is a `substitute`; returns its first HEAD bytes."""
  try:
    with open(path, 'rb') as file:
      head = file.read(HEAD)
  except OSError as error:
    raise WeightError(f'Cannot read the weights {path}: {error.strerror}.') from error
  if fault := substitute(head):
    raise WeightError(f'{path} {fault}.')
  return head


def read_json(path):
  """The dict of a JSON file."""
  refuse_substitute(path)
  try:
    value = json.loads(path.read_text(encoding='utf-8-sig'))
  except OSError as error:
    raise WeightError(f'Cannot read {path}: {error.strerror}.') from error
  except (ValueError, RecursionError) as error:
    raise WeightError(f'{path} is damaged: it is not a complete JSON file '
                      f'({str(error).splitlines()[0]}).') from error
  if not isinstance(value, dict):
    raise WeightError(f'{path} is damaged: it is not a complete JSON file (no object).')
  return value

"""Atomic writes: a file is written beside its target and renamed when it is complete."""

import contextlib
import json
import os
import pathlib


@contextlib.contextmanager
def replacing(path):
  """Yields a temporary path beside `path`, which replaces `path` when the block ends.

  A block that raises leaves an older `path` unchanged and no temporary file. Missing folders are
  created.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(f'.{path.name}.partial-{os.getpid()}')
  try:
    yield beside
    os.replace(beside, path)
  finally:
    beside.unlink(missing_ok=True)


def read_lines(path):
  """The dicts of a JSON lines file."""
  return [json.loads(line)
          for line in pathlib.Path(path).read_text(encoding='utf-8').splitlines()]


def write_lines(path, rows):
  """Writes dicts as JSON lines."""
  with replacing(path) as beside:
    beside.write_text(''.join(json.dumps(row) + '\n' for row in rows), encoding='utf-8')

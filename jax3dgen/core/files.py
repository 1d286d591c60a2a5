"""Atomic writes: a file is written beside its target and renamed when it is complete."""

import contextlib
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

"""Results appear under their name only when they are whole."""

import contextlib
import os
import pathlib


@contextlib.contextmanager
def replacing(path):
  """Yields a path beside `path`; what is written there takes the name `path` when the block ends.

  A block that raises leaves an older `path` as it was, and nothing beside it. Missing folders are
  made.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(f'.{path.name}.partial-{os.getpid()}')
  try:
    yield beside
    os.replace(beside, path)
  finally:
    beside.unlink(missing_ok=True)

"""Results of a phase by rows, computed in blocks and kept in files, so that a phase can resume.

A phase computes arrays with a row per sample. Each block of rows is a file in the phase's folder
with the key of what it was computed from; a block with another key, or a damaged one, is computed
again. Processes compute a share of each block; process 0 alone accesses the folder.
"""

import hashlib
import json

import jax
import numpy as np

from jax3dgen.core import files, parallel
from jax3dgen.train import log
from jax3dgen.train import stop as stops
from jax3dgen.train import workdir as workdirs


def digest(*records):
  """sha256 of JSON records and of arrays {name: array}."""
  total = hashlib.sha256()
  for record in records:
    arrays = {}
    if isinstance(record, dict):
      arrays = {name: x for name, x in record.items() if isinstance(x, np.ndarray)}
      record = {name: x for name, x in record.items() if name not in arrays}
    total.update(json.dumps(record, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
      total.update(f'{name}{array.dtype.str}{array.shape}'.encode())
      total.update(np.ascontiguousarray(array).tobytes())
  return total.hexdigest()


def run(folder, count, size, key, compute, title):
  """{name: [count, ...]} of `compute`, in blocks of `size` rows kept below `folder`.

  compute: (rows [n] int, n <= size) -> {name: host array [n, ...]}; a row's result depends on the
  row alone. `title` is that of the progress lines. SIGTERM and SIGINT end the phase after the
  current block by SystemExit with the status of the signal.
  """
  paths = [folder / f'{k:05d}.npz' for k in range(-(-count // size))]
  blocks = [None] * len(paths)

  def load():
    blocks[:] = [_load(path, key) for path in paths]
    return [block is not None for block in blocks]
  present = parallel.from_main(load)
  rows_of = [np.arange(start, min(start + size, count)) for start in range(0, count, size)]
  missing = [k for k, there in enumerate(present) if not there]
  ready = count - sum(len(rows_of[k]) for k in missing)
  progress = log.Progress(ready, count, title, 'samples')
  with stops.Preemption() as preemption, progress:
    for k in missing:
      blocks[k] = _shared(rows_of[k], compute)
      parallel.from_main(_save, paths[k], key, blocks[k] if parallel.is_main() else None)
      ready += len(rows_of[k])
      progress.advance(len(rows_of[k]))
      progress.show(ready, {})
      if preemption.requested(k) and ready < count:
        progress.say(f'{title}: stopped by a signal after {ready} of {count} rows, which are kept; '
                     'the same command resumes.')
        raise SystemExit(preemption.status)
  return _from_main({name: np.concatenate([block[name] for block in blocks])
                     for name in blocks[0]} if parallel.is_main() else None)


def _shared(rows, compute):
  """`compute(rows)`, each process with an equal share of the rows."""
  processes, index = jax.process_count(), jax.process_index()
  share = -(-len(rows) // processes)
  padded = np.pad(rows, (0, share * processes - len(rows)), mode='edge')
  part = compute(padded[index * share:(index + 1) * share])
  return {name: x[:len(rows)] for name, x in parallel.gather(part).items()}


def _from_main(arrays):
  """{name: array} of process 0 in every process."""
  shapes = parallel.from_main(
      lambda: {name: [list(x.shape), x.dtype.str] for name, x in arrays.items()})
  like = {name: np.broadcast_to(np.empty((), dtype), shape)
          for name, (shape, dtype) in shapes.items()}
  return parallel.tree_from_main(arrays, like)


def _save(path, key, block):
  with workdirs.writing(path), files.replacing(path) as beside, open(beside, 'wb') as file:
    np.savez(file, key=np.array(key), **block)


def _load(path, key):
  """The block of a file with this key; None where there is none, or it is damaged."""
  try:
    with np.load(path, allow_pickle=False) as file:
      block = dict(file)
  except Exception:  # readers of a damaged archive raise many classes
    return None
  return block if str(block.pop('key', '')) == key else None

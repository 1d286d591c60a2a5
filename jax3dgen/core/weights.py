"""Weights on disk: safetensors files <-> nested dicts of arrays, read with suspicion.

A tensor's name is its path in the tree, joined by '/'. Only safetensors are read; a pickle is
refused before a byte of it is interpreted. Everything wrong with a file is a WeightError.
"""

import hashlib
import pathlib

from flax import traverse_util
import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from jax3dgen.core import files
from jax3dgen.core import tree as trees
from jax3dgen.core.errors import WeightError

PICKLE_SUFFIXES = ('.bin', '.ckpt', '.pickle', '.pkl', '.pt', '.pth')
ZIP_MAGIC = b'PK\x03\x04'  # what torch.save writes today is a zip archive of pickles
PICKLE_MAGIC = b'\x80'  # pickle protocol 2 and later
HEADER_LIMIT = 100_000_000  # bytes of a safetensors header; the format's own bound


def digest(path):
  """The sha256 of a file, as hexadecimal digits."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def seal(folder, names):
  """Writes `folder`/sha256, as sha256sum does: the digests of the files `names`."""
  text = ''.join(f'{digest(folder / name)}  {name}\n' for name in names)
  with files.replacing(folder / 'sha256') as beside:
    beside.write_text(text)


def check_seal(folder, names):
  """WeightError unless `folder`/sha256 names each of the files `names` and all are as it says."""
  try:
    lines = [line.split() for line in (folder / 'sha256').read_text().splitlines() if line]
    wanted = {name: known for known, name in lines}
  except (OSError, ValueError) as error:
    raise WeightError(f'{folder / "sha256"} is missing or damaged; it belongs to the weights.'
                      ) from error
  for name in names:
    path = folder / name
    if not path.is_file():
      raise WeightError(f'{path} is missing; these weights are a folder of {", ".join(names)} and '
                        'sha256.')
    if wanted.get(name) != digest(path):
      raise WeightError(f'{path} is damaged or was replaced: its sha256 is not that of '
                        f'{folder / "sha256"}; fetch it again.')


def is_whole(folder):
  """Whether all files that `folder`/sha256 names are as it says."""
  try:
    lines = (folder / 'sha256').read_text().splitlines()
    check_seal(folder, [line.split()[1] for line in lines])
  except (OSError, IndexError, WeightError):
    return False
  return bool(lines)


def save(path, tree, metadata=None, dtype=None):
  """Writes a nested dict of arrays; floating ones as `dtype` (for example np.float16) when given.

  `metadata` is a dict of strings. The file appears under its name only when it is whole.
  """
  path = pathlib.Path(path)
  flat = {name: np.asarray(leaf) for name, leaf in trees.named(tree).items()}
  if dtype is not None:
    with np.errstate(over='ignore'):  # what overflows is refused by name below
      flat = {name: leaf.astype(dtype) if np.issubdtype(leaf.dtype, np.floating) else leaf
              for name, leaf in flat.items()}
  _refuse_nonfinite(path, flat)
  with files.replacing(path) as beside:
    beside.write_bytes(safetensors_numpy.save(
        {n: np.require(a, requirements='C') for n, a in flat.items()}, metadata))


def load(path, target=None):
  """The nested dict of a safetensors file, floating tensors as float32.

  `target`, when given, is a tree of arrays or ShapeDtypeStructs whose names and shapes the file
  must have exactly.
  """
  path = pathlib.Path(path)
  refuse_foreign(path)
  try:
    flat = safetensors_numpy.load_file(path)
  except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
    raise WeightError(f'{path} is no whole safetensors file ({error}).') from error
  _refuse_nonfinite(path, flat)
  flat = {name: jnp.asarray(leaf, jnp.float32 if _is_float(leaf) else leaf.dtype)
          for name, leaf in flat.items()}
  if target is not None:
    match(path, flat, trees.named(target))
  try:
    return traverse_util.unflatten_dict(flat, sep='/')
  except (TypeError, AttributeError) as error:
    raise WeightError(f'{path}: one tensor is named like the folder of another.') from error


def refuse_foreign(path):
  """WeightError unless `path` is a file whose first bytes can be a safetensors header."""
  if path.suffix.lower() in PICKLE_SUFFIXES:
    raise WeightError(f'{path} is a pickle by its name; pickles can run code and are never read. '
                      'Use a .safetensors file.')
  try:
    size = path.stat().st_size
    with open(path, 'rb') as file:
      head = file.read(9)
  except OSError as error:
    raise WeightError(f'Cannot read the weights {path}: {error.strerror}.') from error
  if head.startswith(ZIP_MAGIC) or (head.startswith(PICKLE_MAGIC) and head[8:9] != b'{'):
    raise WeightError(f'{path} is a pickle by its first bytes; pickles can run code and are never '
                      'read. Use a .safetensors file.')
  length = int.from_bytes(head[:8], 'little')
  if len(head) < 9 or length > min(size - 8, HEADER_LIMIT):
    raise WeightError(f'{path} is no whole safetensors file: its header claims {length} bytes of '
                      f'a file of {size}.')


def match(path, found, wanted):
  """WeightError with one table of what is missing, unused or misshaped in `found` for `wanted`."""
  shape = lambda leaf: 'x'.join(map(str, leaf.shape)) or 'scalar'
  rows = [(name, 'missing', '-', shape(wanted[name])) for name in sorted(wanted.keys() - found)]
  rows += [(name, 'unused', shape(found[name]), '-') for name in sorted(found.keys() - wanted)]
  rows += [(name, 'misshaped', shape(found[name]), shape(wanted[name]))
           for name in sorted(wanted.keys() & found) if found[name].shape != wanted[name].shape]
  if not rows:
    return
  rows = [('tensor', 'fault', 'in the file', 'in the network')] + rows
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ['  '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
           for row in rows]
  raise WeightError('\n'.join(
      [f'{path} holds the weights of another network: {len(rows) - 1} tensors differ.', *lines]))


def _is_float(leaf):
  return jnp.issubdtype(leaf.dtype, jnp.floating)


def _refuse_nonfinite(path, flat):
  bad = [name for name, leaf in flat.items()
         if _is_float(leaf) and not np.isfinite(leaf.astype(np.float32)).all()]
  if bad:
    raise WeightError(f'{path}: not finite in {", ".join(sorted(bad)[:8])}'
                      + (f' and {len(bad) - 8} more' if len(bad) > 8 else '') + '.')

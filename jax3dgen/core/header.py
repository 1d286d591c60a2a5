"""The header of a safetensors file, fully validated.

The format: 8 bytes with the little-endian length of the header; the header, a JSON object of
{name: {dtype, shape, data_offsets: [begin, end]}} and perhaps '__metadata__'; then the bytes of the
tensors in C order, offsets counted from the end of the header. The tensors tile the rest of the
file: no byte belongs to two of them or to none. Every violation raises a WeightError.
"""

import json
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jax3dgen.core.errors import WeightError

LIMIT = 2**24  # bytes; those of the largest published models are below 1 MB
MAX_RANK = 8
METADATA = '__metadata__'
DTYPES = {
    'F64': np.float64, 'F32': np.float32, 'F16': np.float16, 'BF16': jnp.bfloat16,
    'I64': np.int64, 'I32': np.int32, 'I16': np.int16, 'I8': np.int8,
    'U64': np.uint64, 'U32': np.uint32, 'U16': np.uint16, 'U8': np.uint8, 'BOOL': np.bool_,
}


class Entry(NamedTuple):
  """Where a tensor lies: `offset` counts bytes from the start of the file."""
  dtype: np.dtype
  shape: tuple
  offset: int

  @property
  def nbytes(self):
    return math.prod(self.shape) * self.dtype.itemsize


def read(path):
  """{name: Entry} of the safetensors file `path`, in the order of their bytes."""
  descriptions, start, size = _open(path)
  entries = {name: _entry(path, name, value, start) for name, value in descriptions.items()
             if name != METADATA}
  entries = dict(sorted(entries.items(), key=lambda item: (item[1].offset, item[1].nbytes)))
  _check_tiling(path, entries, start, size)
  return entries


def metadata(path):
  """{key: text} of the header's __metadata__."""
  entries = dict(_open(path)[0].get(METADATA, ()))
  return {key: text for key, text in entries.items() if isinstance(text, str)}


def _open(path):
  """({name: description}, where the tensors' bytes start, the size of the file)."""
  try:
    size = path.stat().st_size
    with open(path, 'rb') as file:
      length = int.from_bytes(file.read(8), 'little')
      if size < 10 or length > size - 8:
        raise WeightError(f'{path} is no whole safetensors file: its header claims {length} bytes '
                          f'of a file of {size}.')
      if length > LIMIT:
        raise WeightError(f'{path} has an over-long header: {length} bytes, where {LIMIT} are more '
                          'than any network needs.')
      text = file.read(length)
  except OSError as error:
    raise WeightError(f'Cannot read the weights {path}: {error.strerror}.') from error
  return _parse(path, text), 8 + length, size


def _parse(path, text):
  """{name: description} of the header's JSON."""
  try:
    pairs = json.loads(text.decode('utf-8'), object_pairs_hook=_Pairs)
  except (ValueError, RecursionError) as error:
    raise WeightError(f'{path} is no safetensors file: its header is no JSON '
                      f'({str(error).splitlines()[0]}).') from error
  if not isinstance(pairs, _Pairs):
    raise WeightError(f'{path} is no safetensors file: its header is no JSON object.')
  names = [name for name, _ in pairs]
  if len(set(names)) < len(names):
    twice = next(name for name in names if names.count(name) > 1)
    raise WeightError(f'{path} has two tensors of the name {twice!r}.')
  return dict(pairs)


class _Pairs(list):
  """The (key, value) pairs of a JSON object, before duplicate keys are lost."""


def _entry(path, name, value, start):
  whole = lambda x: type(x) is int and x >= 0
  description = dict(value) if isinstance(value, _Pairs) else {}
  dtype, shape, offsets = (description.get(k) for k in ('dtype', 'shape', 'data_offsets'))
  if set(description) != {'dtype', 'shape', 'data_offsets'} or len(value) != 3:
    raise WeightError(f'{path}: {name!r} is not described by dtype, shape and data_offsets.')
  if not isinstance(dtype, str) or dtype not in DTYPES:
    raise WeightError(f'{path}: {name!r} has the dtype {dtype!r}; known are {", ".join(DTYPES)}.')
  if not (isinstance(shape, list) and len(shape) <= MAX_RANK and all(map(whole, shape))
          and math.prod(max(n, 1) for n in shape) < 2**56):
    raise WeightError(f'{path}: {name!r} has no shape of up to {MAX_RANK} whole numbers.')
  if not (isinstance(offsets, list) and len(offsets) == 2 and all(map(whole, offsets))):
    raise WeightError(f'{path}: {name!r} has no pair of data offsets.')
  entry = Entry(np.dtype(DTYPES[dtype]), tuple(shape), start + offsets[0])
  if offsets[1] - offsets[0] != entry.nbytes:
    raise WeightError(f'{path}: {name!r} has {offsets[1] - offsets[0]} bytes, where its shape and '
                      f'dtype need {entry.nbytes}.')
  return entry


def _check_tiling(path, entries, start, size):
  end = start
  for name, entry in entries.items():
    if entry.offset < end:
      raise WeightError(f'{path}: the bytes of {name!r} overlap those of another tensor.')
    if entry.offset > end:
      raise WeightError(f'{path}: {entry.offset - end} bytes before {name!r} belong to no tensor.')
    end += entry.nbytes
  if end > size:
    raise WeightError(f'{path} is no whole safetensors file: it is truncated, {end - size} bytes '
                      'are missing.')
  if end < size:
    raise WeightError(f'{path}: {size - end} bytes after the last tensor belong to none.')

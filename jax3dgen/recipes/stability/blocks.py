"""Blocks of a stability sweep: what was judged is kept in files, so that a sweep can go on.

A block is a fixed share of the sweep's files in their order, and is judged as a whole: numbers of
batched engines may depend on the batch. Its file lies in the folder `blocks` of the workdir.
"""

import hashlib
import json
import os
from typing import NamedTuple

from flax import serialization
import numpy as np

from jax3dgen.core import files
from jax3dgen.export import sweep_tables
from jax3dgen.physics import body, sweep

FREE = ('meshes', 'rollouts')  # fields of the config without a part in the numbers
OPEN = ('.gltf', '.xml')  # formats that refer to other files, which an Item with a fault lacks


class Block(NamedTuple):
  """items: [sweep_tables.Item]; margins_deg [M], results {engine: sweep.Result} and seconds
  {engine: float} are of the M items without an error."""
  items: list
  margins_deg: np.ndarray
  results: dict
  seconds: dict


def key(config, paths):
  """A hash of the settings and of the names, sizes and times of change of the files."""
  fields = {name: value for name, value in config.to_dict().items() if name not in FREE}
  settings = json.dumps(fields, sort_keys=True).encode()
  return hashlib.sha256(serialization.msgpack_serialize(
      [settings, [_stamp(os.path.abspath(path)) for path in paths]])).hexdigest()


def save(path, block, digest):
  """Writes a Block, with the `key` of what it was judged from."""
  others = sorted({file for item in block.items for file in item.files})
  state = {
      'key': digest, 'files': [_stamp(file) for file in others],
      'items': [_plain(item) for item in block.items], 'margins_deg': block.margins_deg,
      'results': {engine: result and result._asdict() | {'errors': result.errors.tolist()}
                  for engine, result in block.results.items()},
      'seconds': block.seconds}
  with files.replacing(path) as beside:
    beside.write_bytes(serialization.msgpack_serialize(state))


def load(path, digest):
  """The Block of a file if it was judged from the same settings and files, else None."""
  try:
    state = serialization.msgpack_restore(path.read_bytes())
    if state['key'] != digest or any(s != _stamp(os.fsdecode(s[0])) for s in state['files']):
      return None
    results = {engine: result and sweep.Result(**result)._replace(
        errors=np.array(result['errors'], str)) for engine, result in state['results'].items()}
    block = Block([_item(fields) for fields in state['items']], state['margins_deg'], results,
                  state['seconds'])
  except Exception:  # there is none, or it is damaged
    return None
  open_ended = lambda item: item.error and item.path.lower().endswith(OPEN)
  return None if any(map(open_ended, block.items)) else block


def _plain(item):
  body = item.body and {name: getattr(item.body, name) for name in item.body.__dataclass_fields__}
  return item._asdict() | {'body': body, 'path': os.fsencode(item.path),
                           'files': [os.fsencode(file) for file in item.files]}


def _item(fields):
  fields |= {'body': fields['body'] and body.Body(**fields['body']),
             'path': os.fsdecode(fields['path']), 'files': tuple(map(os.fsdecode, fields['files']))}
  return sweep_tables.Item(**fields)


def _stamp(path):
  """[path, size, time of change in ns] of a file; the last two are 0 where there is none."""
  try:
    stat = os.stat(path)
  except OSError:
    return [os.fsencode(path), 0, 0]
  return [os.fsencode(path), stat.st_size, stat.st_mtime_ns]

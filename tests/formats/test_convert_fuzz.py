"""300 damaged weight files: each is refused in a sentence, or still holds what it held before."""

import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from jax3dgen.core import header, weights
from jax3dgen.core.errors import WeightError
from jax3dgen.formats import convert

TARGET = {'conv': {'kernel': (3, 3, 2, 4), 'bias': (4,)}, 'proj': {'kernel': (3, 4)},
          'norm': {'scale': (4,), 'bias': (4,)}}
SPECS = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, jnp.float32), TARGET,
                     is_leaf=lambda x: isinstance(x, tuple))


def original(rng):
  """The bytes of a good file."""
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return safetensors_numpy.save({
      'conv.weight': draw(4, 2, 3, 3), 'conv.bias': draw(4), 'proj.weight': draw(4, 3),
      'norm.weight': draw(4), 'norm.bias': draw(4)}, {'format': 'pt'})


def take_apart(data):
  length = struct.unpack('<Q', data[:8])[0]
  return json.loads(data[8:8 + length]), data[8 + length:]


def put_together(entries, rest):
  text = json.dumps(entries).encode()
  return struct.pack('<Q', len(text)) + text + rest


def change_header_bytes(rng, data):
  data, length = bytearray(data), len(data) - len(take_apart(data)[1])
  for _ in range(rng.integers(1, 4)):
    data[rng.integers(0, length)] = rng.integers(0, 256)
  return bytes(data)


def change_entry(change):
  def mutate(rng, data):
    entries, rest = take_apart(data)
    name = sorted(entries.keys() - {'__metadata__'})[rng.integers(0, 5)]
    return put_together(change(rng, entries, name) or entries, rest)
  return mutate


def rename(rng, entries, name):
  i = rng.integers(0, len(name))
  new = name[:i] + chr(rng.integers(32, 0x2fff)) + name[i + rng.integers(0, 2):]
  return {new if n == name else n: entry for n, entry in entries.items()}


def reshape(rng, entries, name):
  shape = entries[name]['shape']
  if rng.integers(0, 2):
    shape[rng.integers(0, len(shape))] = int(rng.integers(-3, 2**40))
  else:
    entries[name]['shape'] = shape[::-1] + [1] if len(shape) == 1 else shape[::-1]


def retype(rng, entries, name):
  dtypes = [dtype for dtype in header.DTYPES if dtype != 'F32']
  entries[name]['dtype'] = [*dtypes, 'F8_E5M2', '', None][rng.integers(0, len(dtypes) + 3)]


def move(rng, entries, name):
  entries[name]['data_offsets'][rng.integers(0, 2)] += int(rng.choice([-400, -4, -1, 1, 4, 400]))


def drop(rng, entries, name):
  del entries[name]


def change_length(rng, data):
  if rng.integers(0, 2):
    return data[:rng.integers(0, len(data))]
  return data + rng.bytes(rng.integers(1, 50))


def change_data(rng, data):
  data = bytearray(data)
  data[-rng.integers(1, 200)] ^= 1 << rng.integers(0, 8)
  return bytes(data)


def exchange(rng, entries, name):
  entries['norm.weight'], entries['norm.bias'] = entries['norm.bias'], entries['norm.weight']


MUTATIONS = (change_header_bytes, change_length,
             *map(change_entry, (rename, reshape, retype, move, drop)))
# What leaves the file a good one, with other numbers: only a manifest tells.
SILENT = (change_data, change_entry(exchange))


@pytest.mark.parametrize('part', range(3))
def test_no_crash_and_no_silent_success(tmp_path, part):
  path, refused = tmp_path / 'model.safetensors', 0
  for i in range(100 * part, 100 * part + 100):
    rng = np.random.default_rng(i)
    path.write_bytes(original(rng))
    (tmp_path / 'sha256').unlink(missing_ok=True)
    before = convert.load_tree(path, (), SPECS)
    sealed = i % 3 == 0
    if sealed:
      weights.seal(tmp_path, [path.name])
    mutations = MUTATIONS + SILENT * sealed
    data = mutations[i % len(mutations)](rng, path.read_bytes())
    changed = data != path.read_bytes()
    path.write_bytes(data)
    try:
      after = convert.load_tree(path, (), SPECS)
    except WeightError as error:
      assert len(str(error)) > 20 and str(path) in str(error)
      refused += 1
    else:  # in the metadata, say
      assert not (sealed and changed), f'file {i}'
      jax.tree.map(np.testing.assert_array_equal, before, after)
  assert refused > 90

"""glTF files with one fault: it has no effect, or the reason is one plain sentence, or a note."""

import copy
import re
import struct

import numpy as np
import pytest

from jax3dgen.core.errors import MeshError
from jax3dgen.export import mesh_io
from tests.export import gltf_files as files
from tests.export.gltf_files import POINTS, add, glb, gltf, primitive, solid


def paths(value, path=()):
  """(path, value) of everything in JSON."""
  yield path, value
  for key, child in (value.items() if isinstance(value, dict) else enumerate(value)
                     if isinstance(value, list) else ()):
    yield from paths(child, (*path, key))


def with_value(header, path, *value):
  """A copy of the header with another value at a path, or without it."""
  header = copy.deepcopy(header)
  place = header
  for key in path[:-1]:
    place = place[key]
  if value:
    place[path[-1]] = value[0]
  else:
    del place[path[-1]]
  return header


def rich():
  """(header, buffer) of the solid with a skin, a morph target, and an animation."""
  header, blob = solid()
  primitive(header)['attributes'] |= {
      'JOINTS_0': add(header, blob, np.uint8([(0, 0, 0, 0)] * 8)),
      'WEIGHTS_0': add(header, blob, np.uint8([(255, 0, 0, 0)] * 8), normalized=True)}
  primitive(header)['targets'] = [{'POSITION': add(header, blob, np.float32(0 * POINTS))}]
  header['meshes'][0]['weights'] = [0.5]
  bind = add(header, blob, np.float32(np.eye(4)).reshape(1, 16))
  header |= {'skins': [{'joints': [1], 'inverseBindMatrices': bind}],
             'nodes': [{'mesh': 0, 'skin': 0, 'children': [1]},
                       {'scale': [0.01] * 3, 'rotation': [0, 0, 0, 1]}]}
  return files.with_buffer(header, len(blob)), blob


WRONG = (None, True, 'x', -1, 1.5, 10**9, 10**30, [], [[]], {}, {'x': 1}, ['x'])
# Without these a file is another, and valid; without bufferView an accessor holds zeros.
OPTIONAL = {'indices', 'bufferView', 'byteOffset', 'scale', 'normalized', 'targets', 'skin'}
FREE = {'scale', 'rotation', 'translation', 'weights'}  # numbers that any other may replace


def faults():
  """(name, file): one value of the header replaced or left out."""
  header, blob = rich()
  for path, old in list(paths(header))[1:]:
    for value in WRONG:
      if type(value) in (int, float) and path[-2:-1] and path[-2] in FREE or (
          isinstance(value, dict) and isinstance(old, dict) and old.keys() & OPTIONAL):
        continue
      yield f'{path} {old!r:.30} -> {value!r}', glb(with_value(header, path, value), blob)
    if path[-1] not in OPTIONAL and not isinstance(path[-1], int):
      yield f'without {path}', glb(with_value(header, path), blob)


def damage():
  """(name, file): a GLB cut off, or with another number in the headers of its chunks."""
  data = glb(*solid())
  for end in range(0, len(data), max(1, len(data) // 60)):
    yield f'cut at {end}', data[:end]
  text = 20 + struct.unpack_from('<I', data, 12)[0]
  for place in (0, 4, 8, 12, 16, text, text + 4):
    old = struct.unpack_from('<I', data, place)[0]
    for value in (0, 1, 3, 4, 20, old - 4, old - 1, old + 1, old + 4, 2**31, 2**32 - 1):
      yield f'{value} for {old} at {place}', (
          data[:place] + struct.pack('<I', value % 2**32) + data[place + 4:])
  words = gltf(*solid())
  for end in range(0, len(words), max(1, len(words) // 60)):
    yield f'text cut at {end}', words[:end]


PYTHON = re.compile(r'Error|NoneType|Traceback|dict|tuple|unpack|codec|literal|damaged|\n')


@pytest.mark.parametrize('cases', [faults, damage])
def test_one_fault(cases, tmp_path):
  """The same volume and centre, or one sentence, or a note."""
  (tmp_path / 'plain.glb').write_bytes(glb(*solid()))
  expected, count = files.figures(mesh_io.read(tmp_path / 'plain.glb', up='z')), 0
  for name, data in cases():
    count += 1
    path = tmp_path / ('x.glb' if data[:4] == b'glTF' else 'x.gltf')
    path.write_bytes(data)
    try:
      mesh = mesh_io.read(path, up='z')
    except MeshError as error:
      words = str(error).removeprefix(f'{path}: ')
      assert words.endswith('.') and len(words) < 300 and not PYTHON.search(words), (name, words)
    else:
      close = np.allclose(files.figures(mesh)[:4], expected[:4], rtol=1e-6, atol=2e-6)
      assert close or mesh.notes, name
  assert count > 200

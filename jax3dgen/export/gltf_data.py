"""The data of a glTF 2 file: its JSON header, its buffers, and the arrays of its accessors.

Files are untrusted. Each value of the header is checked before it is used, sizes are checked
against the bytes, and a buffer outside the file is opened only below the file's own folder.
"""

import base64
import binascii
import contextlib
import json
import pathlib
import re
import struct
from typing import NamedTuple
import urllib.parse

import numpy as np

from jax3dgen.core import paths
from jax3dgen.core.errors import MeshError

MAGIC, JSON, BINARY = b'glTF', b'JSON', b'BIN\0'
DTYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32,
          5126: np.float32}
WIDTHS = {'SCALAR': 1, 'VEC2': 2, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}
READ = ('EXT_mesh_gpu_instancing', 'KHR_mesh_quantization', 'KHR_node_visibility')
HARMLESS = re.compile(  # extensions that leave the triangles as they are
    '(?!.*displacement)[A-Z0-9]+_(animation|audio|instance_features|lights|materials|mesh_features|'
    'node_hoverability|node_selectability|packing|structural_metadata|techniques|texture|xmp|XMP)')
COMPRESSED = ('EXT_meshopt_compression', 'KHR_draco_mesh_compression', 'KHR_meshopt_compression')
MAX_ITEMS = 2**21  # of a header
MAX_BYTES = 2**29  # of the buffers in other files together
MAX_INTEGER, MAX_NUMBER = 2**53, 1e38
REQUIRED = object()
WORDS = {bool: 'true or false', dict: 'an object', int: 'a whole number', list: 'a list',
         str: 'a text'}


class Document(NamedTuple):
  """A file: its header, the binary chunk of a GLB (else None), its folder, the buffers read so
  far by their index."""
  header: dict
  chunk: memoryview | None
  folder: pathlib.Path
  buffers: dict


def document(data, folder):
  """The Document of a GLB or glTF file (bytes); raises MeshError for what is not read at all."""
  text, chunk = _chunks(data) if data[:4] == MAGIC else (data, None)
  if text.count(b',') + text.count(b'{') + text.count(b'[') > MAX_ITEMS:
    raise MeshError(f'the header of the file has more than {MAX_ITEMS} items.')
  try:
    header = json.loads(text.rstrip(b'\0 '))
  except (ValueError, RecursionError) as error:
    raise MeshError('this is no valid GLB or glTF file: its header is not JSON.') from error
  if type(header) is not dict:
    raise MeshError('the header of the file is no JSON object.')
  asset = get(header, 'asset', dict)
  if get(asset, 'version', str).partition('.')[0] != '2' or (
      get(asset, 'minVersion', str, '2.0') != '2.0'):
    raise MeshError('this is no glTF 2.0 file.')
  refuse_compressed(many(header, 'extensionsRequired', str))
  if names := unknown(header, 'extensionsRequired'):
    raise MeshError(f'the file needs the glTF extension {names}, which is not read.')
  return Document(header, chunk, pathlib.Path(folder), {})


def files(data, folder):
  """Paths of the files that a file (bytes) refers to, without those that must not be opened."""
  result = []
  for entry in many(document(data, folder).header, 'buffers', dict):
    uri = get(entry, 'uri', str, '')
    if uri[:5].lower() != 'data:':
      with contextlib.suppress(MeshError):  # no triangle needs it, or reading has told the fault
        result.append(paths.beside(folder, urllib.parse.unquote(uri)))
  return tuple(result)


def unknown(header, key):
  """The extensions of a list of the header that may change triangles and are not read, as text."""
  return ', '.join([_printable(name) for name in many(header, key, str) if not (
      name in (*READ, *COMPRESSED) or HARMLESS.match(name))][:5])


def refuse_compressed(names):
  """Raises MeshError if one of these extensions compresses triangles."""
  for name in names:
    if name in COMPRESSED:
      raise MeshError(f'the triangles are compressed ({name}), which is not read; '
                      '`gltf-transform copy in.glb out.glb` writes them uncompressed.')


def get(entry, key, kind, default=REQUIRED):
  """The value of `key` in an object of the header, of type `kind`; an int is not negative."""
  if key in entry:
    return _value(entry[key], key, kind)
  if default is REQUIRED:
    raise MeshError(f'"{_printable(key)}" is missing in the header of the file.')
  return default


def many(entry, key, kind):
  """The list `key` of an object of the header, with elements of type `kind`; [] if absent."""
  return [_value(value, key, kind) for value in get(entry, key, list, [])]


def _printable(text):
  """A name of the file as it may stand in a sentence."""
  return re.sub(r'[^\w /.,:%+-]', '?', text[:50])


def _value(value, name, kind):
  if kind is int and type(value) is float and value.is_integer():
    value = int(value)
  if type(value) is not kind or kind is int and not 0 <= value < MAX_INTEGER:
    raise MeshError(f'"{_printable(name)}" is not {WORDS[kind]} in the header of the file.')
  return value


def numbers(entry, key, count, default):
  """The list `key` of `count` numbers."""
  values = get(entry, key, list, default)
  if len(values) != count or not all(
      type(value) in (int, float) and abs(value) < MAX_NUMBER for value in values):
    raise MeshError(f'"{key}" is not a list of {count} numbers in the header of the file.')
  return values


def item(header, kind, index):
  """The object `index` of a list of the header: 'accessors', 'nodes', ..."""
  items, name = get(header, kind, list, []), 'mesh' if kind == 'meshes' else kind[:-1]
  if index >= len(items):
    raise MeshError(f'{name} {index} is not there (the file has {len(items)}).')
  return _value(items[index], f'{name} {index}', dict)


def array(source, index, kinds, limit):
  """[count, width] of an accessor of a Document, whose type is one of `kinds`.

  Normalised integers become float64, all others keep their type; values that no buffer holds are
  0. Raises MeshError for more than `limit` elements.
  """
  entry, name = item(source.header, 'accessors', index), f'accessor {index}'
  kind, code = get(entry, 'type', str), get(entry, 'componentType', int)
  count = get(entry, 'count', int)
  if kind not in kinds or code not in DTYPES:
    raise MeshError(f'{name} has a type or component type that is not allowed here.')
  shape = count, WIDTHS[kind]
  rows = _rows(source, entry, shape, code, name) if 'bufferView' in entry else None
  if not 0 < count <= limit:
    raise MeshError(f'{name} has {count} elements; from 1 to {limit} are read.')
  if rows is None:
    rows = np.zeros(shape, DTYPES[code])
  if 'sparse' in entry:
    rows = _with_sparse(source, get(entry, 'sparse', dict), rows, code, name)
  if not get(entry, 'normalized', bool, False):
    return rows
  if code in (5125, 5126):
    raise MeshError(f'{name} has a component type that cannot be normalized.')
  return np.maximum(rows / np.iinfo(rows.dtype).max, -1.0)


def _with_sparse(source, sparse, rows, code, name):
  """A copy of rows with the elements that a sparse accessor replaces."""
  count, indices = get(sparse, 'count', int), get(sparse, 'indices', dict)
  index_code = get(indices, 'componentType', int)
  if index_code not in (5121, 5123, 5125):
    raise MeshError(f'{name} has sparse indices that are no unsigned integers.')
  at = _rows(source, indices, (count, 1), index_code, name)[:, 0]
  if at.max() >= len(rows) or (at[1:] <= at[:-1]).any():
    raise MeshError(f'{name} has sparse indices out of range or out of order.')
  rows = rows.copy()
  rows[at] = _rows(source, get(sparse, 'values', dict), (count, rows.shape[1]), code, name)
  return rows


def _rows(source, entry, shape, code, name):
  """The array of this shape and component type that `entry` places in a buffer view."""
  (count, width), dtype = shape, np.dtype(DTYPES[code])
  index, offset = get(entry, 'bufferView', int), get(entry, 'byteOffset', int, 0)
  view = item(source.header, 'bufferViews', index)
  data = _buffer(source, get(view, 'buffer', int))
  start, size = get(view, 'byteOffset', int, 0), get(view, 'byteLength', int)
  stride = get(view, 'byteStride', int, width * dtype.itemsize)
  if start + size > len(data):
    raise MeshError(f'bufferView {index} claims data that its buffer does not have.')
  if count < 1 or stride < width * dtype.itemsize or (
      offset + (count - 1) * stride + width * dtype.itemsize > size):
    raise MeshError(f'{name} claims data that bufferView {index} does not have.')
  return np.ndarray(shape, dtype, data, start + offset, (stride, dtype.itemsize))


def _buffer(source, index):
  """The bytes of a buffer, byteLength of them."""
  if index not in source.buffers:
    entry = item(source.header, 'buffers', index)
    size, uri = get(entry, 'byteLength', int), get(entry, 'uri', str, None)
    if uri is not None:
      data = _inside(uri, index) if uri[:5].lower() == 'data:' else _beside(source, uri, size)
    elif index == 0 and source.chunk is not None:
      data = source.chunk
    else:
      refuse_compressed(get(entry, 'extensions', dict, {}))
      raise MeshError(f'buffer {index} has no data.')
    if len(data) < size:
      raise MeshError(f'buffer {index} has {len(data)} bytes; the file claims {size}.')
    source.buffers[index] = memoryview(data)[:size]
  return source.buffers[index]


def _inside(uri, index):
  """The bytes of a data: URI of any media type."""
  kind, comma, text = uri.partition(',')
  data = urllib.parse.unquote_to_bytes(text)
  if not comma:
    raise MeshError(f'buffer {index} has a data: URI without data.')
  if not kind.lower().endswith(';base64'):
    return data
  try:
    return base64.b64decode(data + b'=' * (-len(data) % 4), validate=True)
  except binascii.Error as error:
    raise MeshError(f'buffer {index} is no valid base64.') from error


def _beside(source, uri, size):
  """The first `size` bytes of the file that a relative reference names."""
  if size + sum(map(len, source.buffers.values())) > MAX_BYTES:
    raise MeshError(f'the buffers of the file are larger than {MAX_BYTES >> 20} MB.')
  if re.match('[A-Za-z][A-Za-z0-9+.-]*:', uri):
    raise MeshError(f'the file refers to "{_printable(uri)}"; only files below its own folder are '
                    'read.')
  with paths.beside(source.folder, urllib.parse.unquote(uri)).open('rb') as file:
    return file.read(size)


def _chunks(data):
  """The JSON text and the first binary chunk (None without one) of a GLB file."""
  version, total = struct.unpack('<II', data[4:12].ljust(8, b'\0'))
  start, text, chunk = 12, None, None
  while start + 8 <= min(total, len(data)):
    size, kind = struct.unpack_from('<I4s', data, start)
    start, end = start + 8, start + 8 + size
    if end > len(data):
      raise MeshError('the file is truncated.')
    if text is None and kind == JSON:
      text = data[start:end]
    elif text is None:
      break
    elif chunk is None and kind == BINARY:
      chunk = memoryview(data)[start:end]
    start = end
  if version != 2 or text is None:
    raise MeshError('this is no GLB file of glTF 2.')
  if total > len(data):
    raise MeshError('the file is truncated.')
  return text, chunk

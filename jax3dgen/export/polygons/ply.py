"""PLY: reader of text and binary files, writer of binary ones."""

from array import array
import codecs
import re
import struct

import numpy as np

from jax3dgen.core import image
from jax3dgen.core.errors import MeshError
from jax3dgen.export.polygons import fans, text

TYPES = {'char': 'b', 'uchar': 'B', 'short': 'h', 'ushort': 'H', 'int': 'i', 'uint': 'I',
         'float': 'f', 'double': 'd', 'int8': 'b', 'uint8': 'B', 'int16': 'h', 'uint16': 'H',
         'int32': 'i', 'uint32': 'I', 'float32': 'f', 'float64': 'd'}
BYTE_ORDERS = {'binary_little_endian': '<', 'binary_big_endian': '>', 'ascii': ''}
MAX_HEADER = 2**20  # bytes
COLORS = 'red', 'green', 'blue'


def read(data, limit):
  """The elements `vertex`, with colours, `face`, with colours, and `tristrips` (Stanford's)."""
  data = text.normal(data) if data.startswith(text.UTF16) else data.removeprefix(codecs.BOM_UTF8)
  form, elements, start = _header(data)
  text.within(limit, *(count for _, count, _ in elements))
  if form == 'ascii':
    tables, more = _text(text.lines(text.normal(data[start:])), elements)
  else:
    tables, more = _binary(data, start, BYTE_ORDERS[form], elements)
  if more:
    raise MeshError('the file has more rows than its header claims.')
  vertex, face = tables.get('vertex', {}), tables.get('face', {})
  if not {'x', 'y', 'z'} <= vertex.keys():
    raise MeshError('the file has no vertices with x, y and z.')
  vertices = np.stack([np.asarray(vertex[axis], np.float64) for axis in 'xyz'], -1)
  sizes, corners = _lists(face)
  text.within(3 * limit, len(corners))
  faces, colors = fans.triangles(sizes, corners), _colors(vertex)
  if colors is None and len(faces) and 0 <= faces.min() and faces.max() < len(vertices):
    colors = _mean_at_corners(_colors(face), sizes, corners, len(vertices))
  return vertices, np.concatenate([faces, _strips(*_lists(tables.get('tristrips', {})))]), colors


def _header(data):
  """(format, [(element, count, [(property, type of a list's size or None, type)])], length)."""
  line_end = rb'\r' if re.match(rb'ply[ \t]*\r[^\n]', data) else rb'\r?\n'
  end = re.search(line_end + rb'[ \t]*end_header[ \t]*' + line_end, data[:MAX_HEADER])
  if data[:3] != b'ply' or not end:
    raise MeshError('this is no PLY file.')
  form, elements = None, []
  for row in re.split(line_end, data[:end.start()])[1:]:
    line = row.decode('latin-1')
    try:
      match line.split():
        case ['format', name, _]:
          form = name
        case ['element', name, count]:
          elements.append((name, int(count), []))
        case ['property', 'list', size, kind, name]:
          elements[-1][2].append((name, TYPES[size], TYPES[kind]))
        case ['property', kind, name]:
          elements[-1][2].append((name, None, TYPES[kind]))
        case [] | ['comment' | 'obj_info', *_]:
          pass
        case _:
          raise ValueError
    except (IndexError, KeyError, ValueError):
      raise MeshError(f'the PLY header has the invalid line {line[:80]!r}.') from None
  if form not in BYTE_ORDERS:
    raise MeshError(f'the PLY header names none of the formats {", ".join(BYTE_ORDERS)}.')
  return form, elements, end.end()


def encode(mesh):
  """Binary PLY of a host Mesh, with 8-bit sRGB colours of vertices."""
  real = {4: 'float', 8: 'double'}[mesh.vertices.dtype.itemsize]
  fields = [(axis, real) for axis in 'xyz']
  if mesh.colors is not None:
    fields += [(name, 'uchar') for name in COLORS]
  vertex = np.empty(len(mesh.vertices), [(name, '<' + TYPES[kind]) for name, kind in fields])
  for name, column in zip('xyz', mesh.vertices.T):
    vertex[name] = column
  if mesh.colors is not None:
    for name, column in zip(COLORS, image.to_uint8(mesh.colors).T):
      vertex[name] = column
  face = np.empty(len(mesh.faces), [('size', 'u1'), ('corners', '<i4', 3)])
  face['size'], face['corners'] = 3, mesh.faces
  lines = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(vertex)}',
           *(f'property {kind} {name}' for name, kind in fields), f'element face {len(face)}',
           'property list uchar int vertex_indices', 'end_header', '']
  return '\n'.join(lines).encode() + vertex.tobytes() + face.tobytes()


def is_splat(data):
  """Whether a PLY file holds a Gaussian splat, which has points but no surface."""
  head = data[:MAX_HEADER].partition(b'end_header')[0]
  return data[:3] == b'ply' and all(re.search(rb'\s%s\s' % name, head) for name in (
      b'f_dc_0', b'opacity', b'scale_0', b'rot_0'))


def _lists(table):
  """(sizes, items) of the vertex numbers of an element."""
  return table.get('vertex_indices', table.get('vertex_index', ((), ())))


def _strips(sizes, corners):
  """Triangles [F, 3] of strips with `sizes`, in which -1 begins a new one; every second triangle of
  each is turned."""
  corners = np.asarray(corners, np.int64)
  first = np.cumsum(np.asarray(sizes, np.int64)) - sizes if len(sizes) else np.zeros(0, np.int64)
  place = np.arange(len(corners))
  begin = np.zeros(len(corners), np.int64)
  begin[first[first < len(corners)]] = first[first < len(corners)]
  begin[corners == -1] = place[corners == -1] + 1
  begin = np.maximum.accumulate(begin) if len(begin) else begin
  third = np.flatnonzero(place - begin >= 2)  # the last corners of triangles
  faces = corners[third[:, None] + (-2, -1, 0)]
  odd = (third - begin[third]) % 2 == 1
  return np.where(odd[:, None], faces[:, ::-1], faces)


def _columns(properties):
  """An empty array for each property; a list has one of sizes and one of items."""
  return {name: (array('q'), array(kind)) if size else array(kind)
          for name, size, kind in properties}


def _text(lines, elements):
  """({element: table}, whether further rows follow) of the lines after the header."""
  tables = {name: _text_rows(lines, count, properties) for name, count, properties in elements}
  more = next(lines, [])
  return tables, bool(more) and all(re.fullmatch(rb'[-+.\deE]+', word) for word in more)


def _text_rows(lines, count, properties):
  """{property: column} of the next `count` rows."""
  columns = _columns(properties)
  plan = [(columns[name], size, float if kind in 'fd' else int) for name, size, kind in properties]
  for _ in range(count if properties else 0):
    words, start = next(lines, ()), 0
    try:
      if b'_' in b''.join(words):  # which Python allows between digits
        raise ValueError
      for column, size, number in plan:
        if size:
          length = int(words[start])
          items = words[start + 1:start + 1 + length]
          if not 0 <= length == len(items):
            raise MeshError(text.COUNTS)
          column[0].append(length)
          column[1].extend(map(number, items))
          start += 1 + length
        else:
          column.append(number(words[start]))
          start += 1
    except (IndexError, ValueError, OverflowError):
      raise text.invalid(words) from None
    if start < len(words):
      raise MeshError(f'a row has {len(words)} numbers, but its element has {start}.')
  return columns


def _binary(data, start, order, elements):
  """({element: table}, whether further rows follow) of the bytes from `start` on."""
  tables = {}
  for name, count, properties in elements:
    tables[name], start = _binary_rows(data, start, order, count, properties)
  rest = data[start:]
  try:  # a row of the last element, and a whole number of such rows
    length = _binary_rows(rest, 0, order, 1, elements[-1][2])[1] if rest.strip(b'\0\r\n ') else 0
  except (MeshError, ValueError):
    length = 0
  return tables, length > 0 and len(rest) % length == 0


def _binary_rows(data, start, order, count, properties):
  """({property: column} of the `count` rows from byte `start` on, the byte after them)."""
  if not properties or not count:
    return _columns(properties), start
  try:
    fields, end = [], start
    for name, size, kind in properties:  # as if all lists were as long as those of the first row
      if size:
        length, = struct.unpack_from(order + size, data, end)
        fields += [(f'{name} size', order + size), (name, order + kind, (length,))]
      else:
        fields.append((name, order + kind))
      end = start + np.dtype(fields).itemsize
    end = start + count * (end - start)
    if end <= len(data):
      table = np.frombuffer(data, np.dtype(fields), count, start)
      sizes = {name: table[f'{name} size'] for name, size, _ in properties if size}
      if all((size == size[0]).all() for size in sizes.values()):
        return {name: (sizes[name], table[name].ravel()) if name in sizes else table[name]
                for name, _, _ in properties}, end
    return _ragged_rows(data, start, order, count, properties)
  except struct.error:
    raise MeshError('the file is truncated.') from None


def _ragged_rows(data, start, order, count, properties):
  """As `_binary_rows`, row by row; raises struct.error where the bytes end."""
  columns = _columns(properties)
  for _ in range(count):
    for name, size, kind in properties:
      length, column = 1, columns[name]
      if size:
        length, = struct.unpack_from(order + size, data, start)
        start += struct.calcsize(order + size)
        column[0].append(length)
        column = column[1]
      items = struct.Struct(f'{order}{length}{kind}')
      column.extend(items.unpack_from(data, start))
      start += items.size
  return columns, start


def _colors(table):
  """Red, green and blue [N, 3] of a table, in [0, 1], or None."""
  if not table.keys() >= set(COLORS):
    return None
  colors = np.stack([table[name] for name in COLORS], -1)
  return colors / np.iinfo(colors.dtype).max if colors.dtype.kind in 'iu' else colors


def _mean_at_corners(colors, sizes, corners, count):
  """Colours [V, 3] of vertices as the mean over the polygons [P, 3] that meet there."""
  if colors is None:
    return None
  times = np.maximum(np.bincount(corners, minlength=count), 1)
  return np.stack([np.bincount(corners, np.repeat(channel, sizes), count) / times
                   for channel in colors.T], -1)

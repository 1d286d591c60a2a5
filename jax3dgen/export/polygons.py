"""Readers of OBJ, OFF, PLY and STL: polygons in, triangles out, in memory that follows the file.

Each takes the bytes of a file and returns (vertices [V, 3], faces [F, 3], sRGB colours [V, 3] or
None), in the file's own frame. Materials, textures, normals and groups are ignored. Sizes that a
file claims are checked against its bytes. An invalid file, or one of more than `limit` vertices or
faces, raises MeshError or whatever error the parsing runs into.

What trimesh reads, and what it does not (each shown in tests/export/test_polygons.py):
  OBJ   here. trimesh counts a negative index from the end of the file, not from its own line, and
        doubles the vertices of texture seams, so that a closed surface opens.
  OFF   here. trimesh reads a truncated file as fewer or smaller faces without an error, and takes
        four-dimensional vertices for three-dimensional ones.
  PLY   here. trimesh refuses binary files that mix triangles and quads, and bytes after the data.
  STL   binary: trimesh, once the size is checked (it reads any other size as no mesh at all).
        Text: here. trimesh requires that each vertex has a line of its own that ends in LF.
"""

from array import array
import codecs
import io
import re
import struct

import numpy as np
from trimesh.exchange.stl import load_stl_binary

from jax3dgen.core.errors import MeshError
from jax3dgen.physics import surface

MAX_LINE = 2**20  # bytes of a line of text
TYPES = {'char': 'b', 'uchar': 'B', 'short': 'h', 'ushort': 'H', 'int': 'i', 'uint': 'I',
         'float': 'f', 'double': 'd', 'int8': 'b', 'uint8': 'B', 'int16': 'h', 'uint16': 'H',
         'int32': 'i', 'uint32': 'I', 'float32': 'f', 'float64': 'd'}
BYTE_ORDERS = {'binary_little_endian': '<', 'binary_big_endian': '>'}


def obj(data, limit):
  """Wavefront OBJ: v (with or without a colour) and f; all objects and groups are one mesh."""
  points, colors, sizes, corners = array('d'), array('d'), array('q'), array('q')
  for words in _lines(_text(data).replace(b'\\\n', b' '), b'#'):
    if words[0] == b'v':
      if len(words) < 4:
        raise MeshError('a vertex has fewer than three coordinates.')
      points.extend(_numbers(words[1:4]))
      if len(words) >= 7:
        colors.extend(_numbers(words[4:7]))
    elif words[0] == b'f':
      count = len(points) // 3
      polygon = _numbers([word.partition(b'/')[0] for word in words[1:]], int)
      if 0 in polygon:
        raise MeshError('a face names vertex 0; OBJ counts from 1.')
      corners.extend(index - 1 if index > 0 else count + index for index in polygon)
      sizes.append(len(polygon))
    _within(3 * limit, len(points), len(corners))
  vertices, colors = np.array(points).reshape(-1, 3), np.array(colors).reshape(-1, 3)
  return vertices, fans(sizes, corners), colors if len(colors) == len(vertices) else None


def off(data, limit):
  """OFF as text, three-dimensional; whatever follows a vertex or a face on its line is ignored."""
  lines = _lines(_text(data), b'#')
  words = next(lines, [b''])
  head = re.fullmatch(rb'(ST)?C?N?OFF(\d*)', words[0])
  if not head:
    raise MeshError('this is no OFF file of three dimensions.')
  counts = [head[2], *words[1:]] if head[2] else words[1:] or next(lines, [])
  vertex_count, face_count = _numbers(counts[:2], int)
  _within(limit, vertex_count, face_count)
  place = _text_rows(lines, vertex_count, [(axis, None, 'd') for axis in 'xyz'])
  sizes, corners = _text_rows(lines, face_count, [('corners', 'i', 'q')])['corners']
  _within(3 * limit, len(corners))
  return np.stack([place[axis] for axis in 'xyz'], -1), fans(sizes, corners), None


def stl(data, limit):
  """STL, binary or text; vertices at the same place become one."""
  count = int.from_bytes(data[80:84], 'little')
  end = 84 + 50 * count
  if count and end <= len(data):  # in text these four bytes are tabs at least: over 10^8 faces
    _within(limit, 3 * count)
    vertices = load_stl_binary(io.BytesIO(data[:end]))['vertices']
  else:
    text, points = _text(data), array('d')
    tail = text[-MAX_LINE:].lower()
    if tail.rfind(b'endsolid') <= tail.rfind(b'vertex'):
      raise MeshError('the file is truncated, or no STL.')
    for match in re.finditer(rb'(?i)\bvertex\s+(\S+)\s+(\S+)\s+(\S+)', text):
      points.extend(_numbers(match.groups()))
    _within(3 * limit, len(points))
    vertices = np.array(points).reshape(-1, 3)
  if not len(vertices):
    raise MeshError('the file has no faces.')
  first, same = surface.distinct(vertices)
  return vertices[first], same.reshape(-1, 3), None


def ply(data, limit):
  """PLY, binary or text: the elements `vertex` and `face`, with the colours of either."""
  form, elements, start = _ply_header(data)
  _within(limit, *(count for _, count, _ in elements))
  tables, lines = {}, _lines(_text(data[start:])) if form == 'ascii' else None
  for name, count, properties in elements:
    if form == 'ascii':
      tables[name] = _text_rows(lines, count, properties)
    else:
      tables[name], start = _binary_rows(data, start, BYTE_ORDERS[form], count, properties)
  vertex, face = tables['vertex'], tables.get('face', {})
  vertices = np.stack([vertex[axis] for axis in 'xyz'], -1)
  sizes, corners = face.get('vertex_indices', face.get('vertex_index', ((), ())))
  _within(3 * limit, len(corners))
  faces, colors = fans(sizes, corners), _colors(vertex)
  if colors is None and len(faces) and 0 <= faces.min() and faces.max() < len(vertices):
    colors = _mean_at_corners(_colors(face), sizes, corners, len(vertices))
  return vertices, faces, colors


def fans(sizes, corners):
  """Triangles [F, 3] of polygons with `sizes` [P] corners each, whose vertex numbers follow one
  another in `corners`: a fan from the first corner; none of fewer than three corners."""
  sizes, corners = np.asarray(sizes, np.int64), np.asarray(corners).astype(np.int64)
  if (sizes == 3).all():
    return corners.reshape(-1, 3)
  count = np.maximum(sizes - 2, 0)
  first = np.repeat(np.cumsum(sizes) - sizes, count)
  step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
  return corners[np.stack([first, first + step + 1, first + step + 2], 1)]


def _text(data):
  """The bytes of a text file in UTF-8, without a byte order mark, with lines that end in LF."""
  if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
    data = data.decode('utf-16').encode()
  return data.removeprefix(codecs.BOM_UTF8).replace(b'\r\n', b'\n').replace(b'\r', b'\n')


def _lines(text, comment=None):
  """Yields the words of each line of `text` that has any."""
  stream = io.BytesIO(text)
  while line := stream.readline(MAX_LINE):
    if len(line) == MAX_LINE:
      raise MeshError(f'the file has a line of {MAX_LINE} bytes or more.')
    if comment and comment in line:
      line = line.partition(comment)[0]
    if words := line.split():
      yield words


def _numbers(words, kind=float):
  try:
    return list(map(kind, words))
  except ValueError:
    raise _invalid(words) from None


def _invalid(words):
  text = b' '.join(words)[:80].decode(errors='replace')
  return MeshError(f'the file is truncated{f", or invalid at {text!r}" if text else ""}.')


def _list(words):
  """The words after the first, which is their number, without those that follow them."""
  size, = _numbers(words[:1], int) or [-1]
  if not 0 <= size < len(words):
    raise MeshError('the file is truncated, or a face has not as many corners as it claims.')
  return words[1:1 + size]


def _within(limit, *counts):
  if min(counts) < 0 or max(counts) > limit:
    raise MeshError('the file claims more vertices or faces than are read, or fewer than none.')


def _ply_header(data):
  """(format, [(element, count, [(property, type of a list's size or None, type)])], length)."""
  line_end = rb'\r' if re.match(rb'ply *\r[^\n]', data) else rb'\r?\n'
  end = re.search(rb'end_header *' + line_end, data[:MAX_LINE])
  if data[:3] != b'ply' or not end:
    raise MeshError('this is no PLY file.')
  form, elements = None, []
  for line in data[:end.start()].decode('latin-1').splitlines():
    match line.split():
      case ['format', name, _]:
        form = name
      case ['element', name, count]:
        elements.append((name, int(count), []))
      case ['property', 'list', size, kind, name]:
        elements[-1][2].append((name, TYPES[size], TYPES[kind]))
      case ['property', kind, name]:
        elements[-1][2].append((name, None, TYPES[kind]))
  return form, elements, end.end()


def _columns(properties):
  """An empty array for each property; a list has one of sizes and one of items."""
  return {name: (array('q'), array(kind)) if size else array(kind)
          for name, size, kind in properties}


def _text_rows(lines, count, properties):
  """{property: column} of the next `count` rows."""
  columns = _columns(properties)
  plan = [(columns[name], size, float if kind in 'fd' else int) for name, size, kind in properties]
  for _ in range(count if properties else 0):
    words, start = next(lines, ()), 0
    try:
      for column, size, number in plan:
        if size:
          items = _list(words[start:])
          column[0].append(len(items))
          column[1].extend(map(number, items))
          start += 1 + len(items)
        else:
          column.append(number(words[start]))
          start += 1
    except (IndexError, ValueError):
      raise _invalid(words) from None
  return columns


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
  if not {'red', 'green', 'blue'} <= table.keys():
    return None
  colors = np.stack([table[name] for name in ('red', 'green', 'blue')], -1)
  return colors / np.iinfo(colors.dtype).max if colors.dtype.kind in 'iu' else colors


def _mean_at_corners(colors, sizes, corners, count):
  """Colours [V, 3] of vertices as the mean over the polygons [P, 3] that meet there."""
  if colors is None:
    return None
  times = np.maximum(np.bincount(corners, minlength=count), 1)
  return np.stack([np.bincount(corners, np.repeat(channel, sizes), count) / times
                   for channel in colors.T], -1)

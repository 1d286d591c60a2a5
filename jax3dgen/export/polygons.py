"""Readers of OBJ, OFF, PLY and STL: polygons in, triangles out, in memory that follows the file.

Each takes the bytes of a file and returns (vertices [V, 3], faces [F, 3], sRGB colours [V, 3] or
None), in the file's own frame. Materials, textures, normals and groups are passed over. Numbers are
believed only as far as the bytes bear them out; a damaged file raises MeshError or whatever the
parsing stumbled over, and so does one of more than `limit` vertices or faces.
"""

from array import array
import io
import re
import struct

import numpy as np

from jax3dgen.core.errors import MeshError
from jax3dgen.physics import surface

LONGEST = 2**20  # bytes of a line of text
TYPES = {'char': 'b', 'uchar': 'B', 'short': 'h', 'ushort': 'H', 'int': 'i', 'uint': 'I',
         'float': 'f', 'double': 'd', 'int8': 'b', 'uint8': 'B', 'int16': 'h', 'uint16': 'H',
         'int32': 'i', 'uint32': 'I', 'float32': 'f', 'float64': 'd'}
BYTES = {'binary_little_endian': '<', 'binary_big_endian': '>'}


def obj(data, limit):
  """Wavefront OBJ: v (with or without a colour) and f; all objects and groups are one mesh."""
  points, shades, sizes, corners = array('d'), array('d'), array('q'), array('q')
  for words in _lines(data.replace(b'\\\n', b' '), b'#'):
    if words[0] == b'v':
      points.extend(_three(words[1:4]))
      if len(words) >= 7:
        shades.extend(_three(words[4:7]))
    elif words[0] == b'f':
      count = len(points) // 3
      polygon = [int(word.partition(b'/')[0]) for word in words[1:]]
      if 0 in polygon:
        raise MeshError('a face names vertex 0; OBJ counts from 1.')
      corners.extend(index - 1 if index > 0 else count + index for index in polygon)
      sizes.append(len(polygon))
    if max(len(points), len(corners)) > 3 * limit:
      raise _too_much()
  vertices, colors = np.array(points).reshape(-1, 3), np.array(shades).reshape(-1, 3)
  return vertices, fans(sizes, corners), colors if len(colors) == len(vertices) else None


def off(data, limit):
  """OFF as text, of three dimensions; what a vertex has beside its place is passed over."""
  lines = _lines(data, b'#')
  words = next(lines, [b''])
  head = re.fullmatch(rb'(ST)?C?N?OFF(\d*)', words[0])
  if not head:
    raise MeshError('this is no OFF file of three dimensions.')
  counts = [head[2], *words[1:]] if head[2] else words[1:] or next(lines, [])
  vertex_count, face_count = int(counts[0]), int(counts[1])
  _within(limit, vertex_count, face_count)
  points, sizes, corners = array('d'), array('q'), array('q')
  for _ in range(vertex_count):
    points.extend(_three(next(lines, ())[:3]))
  for _ in range(face_count):
    polygon = _polygon(next(lines, ()))
    sizes.append(len(polygon))
    corners.extend(map(int, polygon))
    if len(corners) > 3 * limit:
      raise _too_much()
  return np.array(points).reshape(-1, 3), fans(sizes, corners), None


def stl(data, limit):
  """STL, binary or text; vertices at the same place become one."""
  claimed = struct.unpack_from('<I', data, 80)[0] if len(data) >= 84 else -1
  if len(data) == 84 + 50 * claimed:
    _within(limit, 3 * claimed)
    triangle = np.dtype([('normal', '<f4', 3), ('corners', '<f4', (3, 3)), ('more', '<u2')])
    vertices = np.frombuffer(data, triangle, claimed, 84)['corners'].reshape(-1, 3)
  elif data[:512].lstrip()[:5].lower() != b'solid':
    raise MeshError('the file is cut short, or no STL.')
  else:
    tail = data[-LONGEST:].lower()
    if tail.rfind(b'endsolid') <= tail.rfind(b'vertex'):
      raise MeshError('the file is cut short.')
    points = array('d')
    for match in re.finditer(rb'(?i)\bvertex\s+(\S+)\s+(\S+)\s+(\S+)', data):
      points.extend(map(float, match.groups()))
      if len(points) > 3 * limit:
        raise _too_much()
    vertices = np.array(points).reshape(-1, 3)
  if not len(vertices):
    raise MeshError('the file has no faces.')
  first, same = surface.distinct(vertices)
  return vertices[first], same.reshape(-1, 3), None


def ply(data, limit):
  """PLY, binary or text: the elements `vertex` and `face`, with the colours of either."""
  form, elements, start = _ply_header(data)
  _within(limit, *(count for _, count, _ in elements))
  tables, lines = {}, _lines(data[start:]) if form == 'ascii' else None
  for name, count, properties in elements:
    if form == 'ascii':
      tables[name] = _text_rows(lines, count, properties)
    else:
      tables[name], start = _binary_rows(data, start, BYTES[form], count, properties)
  if form != 'ascii' and start != len(data):
    raise MeshError('the file is longer than it claims.')
  vertex, face = tables['vertex'], tables.get('face', {})
  vertices = np.stack([vertex[axis] for axis in 'xyz'], -1)
  sizes, corners = face.get('vertex_indices', face.get('vertex_index', ((), ())))
  _within(3 * limit, len(corners))
  faces, colors = fans(sizes, corners), _colors(vertex)
  if colors is None and len(faces) and 0 <= faces.min() and faces.max() < len(vertices):
    colors = _at_corners(_colors(face), sizes, corners, len(vertices))
  return vertices, faces, colors


def fans(sizes, corners):
  """Triangles [F, 3] of polygons that have `sizes` [P] of the `corners`, one after the other; a
  polygon of fewer than three corners has none."""
  sizes, corners = np.asarray(sizes, np.int64), np.asarray(corners).astype(np.int64)
  if (sizes == 3).all():
    return corners.reshape(-1, 3)
  count = np.maximum(sizes - 2, 0)
  first = np.repeat(np.cumsum(sizes) - sizes, count)
  step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
  return corners[np.stack([first, first + step + 1, first + step + 2], 1)]


def _lines(data, comment=None):
  """Yields the words of each line of text that has any."""
  if b'\n' not in data:
    data = data.replace(b'\r', b'\n')
  stream = io.BytesIO(data)
  while line := stream.readline(LONGEST):
    if len(line) == LONGEST:
      raise MeshError(f'the file has a line of {LONGEST} bytes or more.')
    if comment and comment in line:
      line = line.partition(comment)[0]
    if words := line.split():
      yield words


def _three(words):
  if len(words) != 3:
    raise MeshError('the file is cut short, or a vertex has not three coordinates.')
  return map(float, words)


def _polygon(words):
  """The words after the first, which is their number, without what follows them."""
  size = int(words[0]) if words else -1
  if not 0 <= size < len(words):
    raise MeshError('the file is cut short, or a face has not as many corners as it claims.')
  return words[1:1 + size]


def _within(limit, *counts):
  if min(counts) < 0 or max(counts) > limit:
    raise _too_much()


def _too_much():
  return MeshError('the file claims more vertices or faces than are read, or fewer than none.')


def _ply_header(data):
  """(format, [(element, count, [(property, type of a list's size or None, type)])], length)."""
  end = re.search(rb'end_header *\r?\n', data[:LONGEST])
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
  """{property: column} of the `count` rows that come next."""
  columns = _columns(properties)
  for _ in range(count if properties else 0):
    words = next(lines, ())
    for name, size, kind in properties:
      number = float if kind in 'fd' else int
      if size:
        items = _polygon(words)
        columns[name][0].append(len(items))
        columns[name][1].extend(map(number, items))
        words = words[1 + len(items):]
      else:
        columns[name].append(number(words[0]))
        words = words[1:]
  return columns


def _binary_rows(data, start, order, count, properties):
  """({property: column} of the `count` rows from byte `start` on, the byte after them)."""
  fields, at = [], start
  for name, size, kind in properties:  # as if all lists were as long as those of the first row
    if size and count:
      length, = struct.unpack_from(order + size, data, at)
      fields += [(f'{name} size', order + size), (name, order + kind, (length,))]
    else:
      fields.append((name, order + kind))
    at = start + np.dtype(fields).itemsize
  end = start + count * (at - start)
  if not fields or not count:
    return _columns(properties), start
  if end <= len(data):
    table = np.frombuffer(data, np.dtype(fields), count, start)
    sizes = {name: table[f'{name} size'] for name, size, _ in properties if size}
    if all((size == size[0]).all() for size in sizes.values()):
      return {name: (sizes[name], table[name].ravel()) if name in sizes else table[name]
              for name, _, _ in properties}, end
  elif not any(size for _, size, _ in properties):
    raise MeshError('the file is cut short.')
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
  shades = np.stack([table[name] for name in ('red', 'green', 'blue')], -1)
  return shades / np.iinfo(shades.dtype).max if shades.dtype.kind in 'iu' else shades


def _at_corners(shades, sizes, corners, count):
  """Colours [V, 3] of vertices as the mean over the polygons [P, 3] that meet there."""
  if shades is None:
    return None
  times = np.maximum(np.bincount(corners, minlength=count), 1)
  return np.stack([np.bincount(corners, np.repeat(shade, sizes), count) / times
                   for shade in shades.T], -1)

"""Readers of OBJ, OFF and STL: polygons in, triangles out, in memory that follows the file.

Each takes the bytes of a file and returns (vertices [V, 3], faces [F, 3], sRGB colours [V, 3] or
None), in the file's own frame. Materials, textures, normals and groups are ignored. Sizes that a
file claims are checked against its bytes. An invalid file, or one of more than `limit` vertices or
faces, raises MeshError or whatever error the parsing runs into. PLY is in `export.ply`.

What trimesh reads, and what it does not (each shown in tests/export/test_polygons.py):
  OBJ   here. trimesh counts a negative index from the end of the file, not from its own line, and
        doubles the vertices of texture seams, so that a closed surface opens.
  OFF   here. trimesh reads a truncated file as fewer or smaller faces without an error, and takes
        four-dimensional vertices for three-dimensional ones.
  PLY   `export.ply`. trimesh refuses binary files that mix triangles and quads, and bytes after the
        data.
  STL   binary: trimesh, once the size is checked (it reads any other size as no mesh at all).
        Text: here. trimesh requires that each vertex has a line of its own that ends in LF.
"""

from array import array
import io
import itertools
import re

import numpy as np
from trimesh.exchange.stl import load_stl_binary

from jax3dgen.core.errors import MeshError
from jax3dgen.export import text as texts
from jax3dgen.physics import surface

COUNTS = 'the file is truncated, or has not as many vertices, faces or corners as it claims.'
STL_ROW = 50  # bytes of a triangle
STL_WORDS = {b'facet': 2, b'outer': 1, b'loop': 2, b'vertex': 3}  # in a triangle
STL_NAMES = re.compile(  # the names of solids, and comments of some slicers
    rb'(?im)^[ \t]*((?:end)?solid\b(?!.*?\bfacet[ \t]+normal\b)|(?=[;#])).*$')



def obj(data, limit):
  """Wavefront OBJ: v (with or without a colour) and f; all objects and groups are one mesh.

  A fourth coordinate is the weight of rational curves, which polygons do not use. Colours are
  shares of 1, or of 255 where one is larger than 1.
  """
  points, colors, sizes, corners = array('d'), array('d'), array('q'), array('q')
  for words in texts.lines(texts.normal(data).replace(b'\\\n', b' '), b'#'):
    if words[0] == b'v':
      if len(words) < 4:
        raise MeshError('a vertex has fewer than three coordinates.')
      points.extend(texts.numbers(words[1:4]))
      if len(words) >= 7:
        colors.extend(texts.numbers(words[4:7]))
    elif words[0] == b'f':
      count = len(points) // 3
      polygon = texts.numbers([word.partition(b'/')[0] for word in words[1:]], int)
      if len(polygon) < 3:
        raise MeshError('a face has fewer than three corners.')
      if 0 in polygon:
        raise MeshError('a face names vertex 0; OBJ counts from 1.')
      corners.extend(index - 1 if index > 0 else count + index for index in polygon)
      sizes.append(len(polygon))
    texts.within(3 * limit, len(points), len(corners))
  vertices, colors = np.array(points).reshape(-1, 3), np.array(colors).reshape(-1, 3)
  colors = colors / 255 if colors.max(initial=0) > 1 else colors
  return vertices, fans(sizes, corners), colors if len(colors) == len(vertices) else None


def encode_obj(mesh):
  """OBJ of a host Mesh, with sRGB colours of vertices."""
  digits = 9 if mesh.vertices.dtype == np.float32 else 17  # so that reading gives the same numbers
  table = mesh.vertices if mesh.colors is None else np.hstack([mesh.vertices, mesh.colors])
  text = io.StringIO()
  np.savetxt(text, table, ' '.join(['v', *[f'%.{digits}g'] * table.shape[1]]))
  np.savetxt(text, mesh.faces + 1, 'f %d %d %d')
  return text.getvalue().encode()


def off(data, limit):
  """OFF as text, three-dimensional; normals and colours are ignored.

  A vertex or a face has a line of its own, and what follows it there is ignored; or the words of
  vertices and faces follow one another over any lines, and only what follows a face on its last
  line is ignored.
  """
  if re.match(rb'\w*OFF\s+BINARY', data):
    raise MeshError('binary OFF is not read; OFF as text is.')
  text = texts.normal(data)
  _, vertex_count, face_count, _, _ = _off_header(text)
  texts.within(limit, vertex_count, face_count)
  try:
    points, sizes, corners = _off_lines(text)
  except MeshError:
    points, sizes, corners = _off_words(text)
  texts.within(3 * limit, len(corners))
  return np.array(points).reshape(-1, 3), fans(sizes, corners), None


def stl(data, limit):
  """STL, binary or text; vertices at the same place become one."""
  count = int.from_bytes(data[80:84], 'little')
  end = 84 + STL_ROW * count
  # In text these four bytes are tabs at least (over 10^8 faces), but not in UTF-16.
  if count and end <= len(data) and not data.startswith(texts.UTF16):
    texts.within(limit, 3 * count)
    rest = data[end:]
    if len(rest) >= STL_ROW and len(rest) % STL_ROW == 0 and rest.strip(b'\0'):
      raise MeshError(f'the file claims {count} faces, but has {count + len(rest) // STL_ROW}.')
    vertices = load_stl_binary(io.BytesIO(data[:end]))['vertices'].astype(np.float64)
  elif b'\0' in data.rstrip(b'\0\x1a') and not data.startswith(texts.UTF16):
    raise MeshError('the file is truncated, or no STL.')
  else:
    vertices = np.array(_stl_text(texts.normal(data), limit)).reshape(-1, 3)
  if not len(vertices):
    raise MeshError('the file has no faces.')
  first, same = surface.distinct(vertices)
  return vertices[first], same.reshape(-1, 3), None


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


def _off_header(text):
  """(numbers of a vertex, vertices, faces, the words behind on their line, the lines after it)."""
  lines = texts.lines(text, b'#')
  words = next(lines, [b''])
  head = re.fullmatch(rb'(ST)?(C)?(N)?OFF(\d*)', words[0])
  if not head:
    raise MeshError('this is no OFF file of three dimensions.')
  counts = [word for word in (head[4], *words[1:]) if word] or next(lines, [])
  if len(counts) == 1:
    counts = [*counts, *next(lines, []), *next(lines, [])]
  if len(counts) < 2:
    raise MeshError(COUNTS)
  vertices, faces = texts.numbers(counts[:2], int)
  width = 3 + 2 * bool(head[1]) + 4 * bool(head[2]) + 3 * bool(head[3])
  return width, vertices, faces, counts[3:], lines


def _off_lines(text):
  """(coordinates [3V], sizes [F] and corners of faces) of an OFF file with a line for each."""
  _, vertices, faces, _, lines = _off_header(text)
  points, sizes, corners = array('d'), array('q'), array('q')
  for words in itertools.islice(lines, vertices):
    if len(words) < 3:
      raise texts.invalid(words)
    points.extend(texts.numbers(words[:3]))
  for words in itertools.islice(lines, faces):
    size, = texts.numbers(words[:1], int)
    if not 0 <= size < len(words):
      raise MeshError(COUNTS)
    sizes.append(size)
    corners.extend(texts.numbers(words[1:1 + size], int))
  if len(sizes) < faces or next(lines, None):
    raise MeshError(COUNTS)
  return points, sizes, corners


def _off_words(text):
  """As `_off_lines`, of an OFF file whose words may be in any lines."""
  width, vertices, faces, words, lines = _off_header(text)
  points, sizes, corners = array('d'), array('q'), array('q')

  def take(count):
    while len(words) < count:
      more = next(lines, None)
      if more is None:
        raise MeshError(COUNTS)
      words.extend(more)
    part = words[:count]
    del words[:count]
    return part

  for _ in range(vertices):
    points.extend(texts.numbers(take(width)[:3]))
  for _ in range(faces):
    size, = texts.numbers(take(1), int)
    if size < 3:
      raise MeshError(COUNTS)
    sizes.append(size)
    corners.extend(texts.numbers(take(size), int))
    words.clear()
  if next(lines, None):
    raise MeshError(COUNTS)
  return points, sizes, corners


def _stl_text(text, limit):
  """The coordinates [9F] of the triangles of a text STL file, whose names may be any words."""
  text = re.sub(STL_NAMES, rb'\1', text)
  lower, points = text.lower(), array('d')
  count = lower.count(b'endfacet')
  if any(lower.count(word) != times * count for word, times in STL_WORDS.items()) or not (
      lower.rfind(b'endsolid') > lower.rfind(b'vertex')):
    raise MeshError('the file is truncated, or no STL.')
  texts.within(3 * limit, 9 * count)
  for match in re.finditer(rb'(?i)\bvertex\s+(\S+)\s+(\S+)\s+(\S+)', text):
    points.extend(texts.numbers(match.groups()))
  if len(points) != 9 * count:
    raise MeshError('the file is truncated, or a corner has not three coordinates.')
  return points

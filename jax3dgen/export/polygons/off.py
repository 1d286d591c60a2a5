"""OFF: reader of text files."""

from array import array
import itertools
import re

import numpy as np

from jax3dgen.core.errors import MeshError
from jax3dgen.export.polygons import fans, text


def read(data, limit):
  """OFF as text, three-dimensional; normals and colours are ignored.

  A vertex or a face has a line of its own, and what follows it there is ignored; or the words of
  vertices and faces follow one another over any lines, and only what follows a face on its last
  line is ignored; or, where that does not fit the counts, all words belong to vertices and faces.
  """
  if re.match(rb'(?i)\w*OFF\s+BINARY', data):
    raise MeshError('binary OFF is not read; OFF as text is.')
  content = text.normal(data)
  _, vertex_count, face_count, _, _ = _header(content)
  text.within(limit, vertex_count, face_count)
  for parse in (_lines, _words, _stream):
    try:
      points, sizes, corners = parse(content)
      break
    except MeshError as error:
      fault = error
  else:
    raise fault
  text.within(3 * limit, len(corners))
  return np.array(points).reshape(-1, 3), fans.triangles(sizes, corners), None


def _header(content):
  """(numbers of a vertex, vertices, faces, the words behind on their line, the lines after it)."""
  lines = text.lines(content, b'#')
  words = next(lines, [b''])
  head = re.fullmatch(rb'(?i)(ST)?(C)?(N)?OFF(\d*)', words[0])
  if not head:
    raise MeshError('this is no OFF file of three dimensions.')
  counts = [word for word in (head[4], *words[1:]) if word] or next(lines, [])
  if len(counts) == 1:
    counts = [*counts, *next(lines, []), *next(lines, [])]
  if len(counts) < 2:
    raise MeshError(text.COUNTS)
  vertices, faces = text.numbers(counts[:2], int)
  width = 3 + 2 * bool(head[1]) + 4 * bool(head[2]) + 3 * bool(head[3])
  return width, vertices, faces, counts[3:], lines


def _lines(content):
  """(coordinates [3V], sizes [F] and corners of faces) of an OFF file with a line for each."""
  _, vertices, faces, _, lines = _header(content)
  points, sizes, corners = array('d'), array('q'), array('q')
  for words in itertools.islice(lines, vertices):
    if len(words) < 3:
      raise text.invalid(words)
    points.extend(text.numbers(words[:3]))
  for words in itertools.islice(lines, faces):
    size, = text.numbers(words[:1], int)
    if not 0 <= size < len(words):
      raise MeshError(text.COUNTS)
    sizes.append(size)
    corners.extend(text.numbers(words[1:1 + size], int))
  if len(sizes) < faces or next(lines, None):
    raise MeshError(text.COUNTS)
  return points, sizes, corners


def _stream(content):
  """As `_words`, of a file whose faces may share a line, and have nothing behind them."""
  return _words(content, shared=True)


def _words(content, shared=False):
  """As `_lines`, of an OFF file whose words may be in any lines."""
  width, vertices, faces, words, lines = _header(content)
  points, sizes, corners = array('d'), array('q'), array('q')

  def take(count):
    while len(words) < count:
      more = next(lines, None)
      if more is None:
        raise MeshError(text.COUNTS)
      words.extend(more)
    part = words[:count]
    del words[:count]
    return part

  for _ in range(vertices):
    points.extend(text.numbers(take(width)[:3]))
  for _ in range(faces):
    size, = text.numbers(take(1), int)
    if size < 3:
      raise MeshError(text.COUNTS)
    sizes.append(size)
    corners.extend(text.numbers(take(size), int))
    if not shared:
      words.clear()
  if words or next(lines, None):
    raise MeshError(text.COUNTS)
  return points, sizes, corners

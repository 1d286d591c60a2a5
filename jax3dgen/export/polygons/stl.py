"""STL: reader of text and binary files."""

from array import array
import io
import re

import numpy as np
from trimesh.exchange.stl import load_stl_binary

from jax3dgen.core.errors import MeshError
from jax3dgen.export.polygons import text
from jax3dgen.physics import surface

ROW = 50  # bytes of a triangle
WORDS = {b'facet': 2, b'outer': 1, b'loop': 2, b'vertex': 3}  # in a triangle
NAMES = re.compile(  # the names of solids, and comments of some slicers
    rb'(?im)^[ \t]*((?:end)?solid\b(?!.*?\bfacet[ \t]+normal\b)|(?=[;#])).*$')


def read(data, limit):
  """Binary or text; vertices at the same place become one."""
  count = int.from_bytes(data[80:84], 'little')
  end = 84 + ROW * count
  # In text these four bytes are tabs at least (over 10^8 faces), but not in UTF-16.
  if count and end <= len(data) and not data.startswith(text.UTF16):
    text.within(limit, 3 * count)
    rest = data[end:]
    if len(rest) >= ROW and len(rest) % ROW == 0 and rest.strip(b'\0'):
      raise MeshError(f'the file claims {count} faces, but has {count + len(rest) // ROW}.')
    vertices = load_stl_binary(io.BytesIO(data[:end]))['vertices'].astype(np.float64)
  elif b'\0' in data.rstrip(b'\0\x1a') and not data.startswith(text.UTF16):
    raise MeshError('the file is truncated, or no STL.')
  else:
    vertices = np.array(_text(text.normal(data), limit)).reshape(-1, 3)
  if not len(vertices):
    raise MeshError('the file has no faces.')
  first, same = surface.distinct(vertices)
  return vertices[first], same.reshape(-1, 3), None


def _text(content, limit):
  """The coordinates [9F] of the triangles of a text STL file, whose names may be any words."""
  content = re.sub(NAMES, rb'\1', content)
  lower, points = content.lower(), array('d')
  count = lower.count(b'endfacet')
  if any(lower.count(word) != times * count for word, times in WORDS.items()) or not (
      lower.rfind(b'endsolid') > lower.rfind(b'vertex')):
    raise MeshError('the file is truncated, or no STL.')
  text.within(3 * limit, 9 * count)
  for match in re.finditer(rb'(?i)\bvertex\s+(\S+)\s+(\S+)\s+(\S+)', content):
    points.extend(text.numbers(match.groups()))
  if len(points) != 9 * count:
    raise MeshError('the file is truncated, or a corner has not three coordinates.')
  return points

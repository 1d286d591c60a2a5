"""Wavefront OBJ: reader and writer."""

from array import array
import io

import numpy as np

from jax3dgen.core.errors import MeshError
from jax3dgen.export.polygons import fans, text


def read(data, limit):
  """The elements v (with or without a colour) and f; all objects and groups are one mesh.

  A fourth coordinate is the weight of rational curves, which polygons do not use. Colours are
  shares of 1, or of 255 where one is larger than 1.
  """
  points, colors, sizes, corners = array('d'), array('d'), array('q'), array('q')
  for words in text.lines(text.normal(data).replace(b'\\\n', b' '), b'#'):
    if words[0] == b'v':
      if len(words) < 4:
        raise MeshError('a vertex has fewer than three coordinates.')
      points.extend(text.numbers(words[1:4]))
      if len(words) >= 7:
        colors.extend(text.numbers(words[4:7]))
    elif words[0] == b'f':
      count = len(points) // 3
      polygon = text.numbers([word.partition(b'/')[0] for word in words[1:]], int)
      if len(polygon) < 3:
        raise MeshError('a face has fewer than three corners.')
      if 0 in polygon:
        raise MeshError('a face names vertex 0; OBJ counts from 1.')
      corners.extend(index - 1 if index > 0 else count + index for index in polygon)
      sizes.append(len(polygon))
    text.within(3 * limit, len(points), len(corners))
  vertices, colors = np.array(points).reshape(-1, 3), np.array(colors).reshape(-1, 3)
  colors = colors / 255 if colors.max(initial=0) > 1 else colors
  return vertices, fans.triangles(sizes, corners), colors if len(colors) == len(vertices) else None


def encode(mesh):
  """OBJ of a host Mesh, with sRGB colours of vertices."""
  digits = 9 if mesh.vertices.dtype == np.float32 else 17  # so that reading gives the same numbers
  table = mesh.vertices if mesh.colors is None else np.hstack([mesh.vertices, mesh.colors])
  lines = io.StringIO()
  np.savetxt(lines, table, ' '.join(['v', *[f'%.{digits}g'] * table.shape[1]]))
  np.savetxt(lines, mesh.faces + 1, 'f %d %d %d')
  return lines.getvalue().encode()

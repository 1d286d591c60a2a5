"""Triangles of polygons."""

import numpy as np


def triangles(sizes, corners):
  """Triangles [F, 3] of polygons with `sizes` [P] corners each, whose vertex numbers follow one
  another in `corners`: a fan from the first corner; none of fewer than three corners."""
  sizes, corners = np.asarray(sizes, np.int64), np.asarray(corners).astype(np.int64)
  if (sizes == 3).all():
    return corners.reshape(-1, 3)
  count = np.maximum(sizes - 2, 0)
  first = np.repeat(np.cumsum(sizes) - sizes, count)
  step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
  return corners[np.stack([first, first + step + 1, first + step + 2], 1)]

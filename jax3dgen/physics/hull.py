"""Convex hulls of fewer vertices, for engines with arrays of a fixed size; host arrays, float64."""

import numpy as np
from scipy import spatial
import trimesh

DIRECTIONS = 4096  # whose extreme vertices are the candidates of a reduced hull
CHUNK, PART = 2**11, 2**9  # hull vertices compared at a time with all planes, and all triangles


def reduce(vertices, count):
  """(at most `count` of the hull's vertices, largest distance of the others from their hull).

  Greedy: starting from a large tetrahedron, the vertex furthest outside the hull so far is added.
  Of a large hull only the extreme vertices in many directions are candidates.
  """
  if len(vertices) <= count:
    return vertices, 0.0
  directions = max(DIRECTIONS, 4 * count)
  candidates = vertices if len(vertices) <= directions else vertices[_extreme(vertices, directions)]
  selection = _tetrahedron(candidates)
  while len(selection) < min(count, len(candidates)):
    planes = spatial.ConvexHull(candidates[selection]).equations
    selection.append(int(np.argmax((candidates @ planes[:, :3].T + planes[:, 3]).max(1))))
  return candidates[selection], _beyond(vertices, candidates[selection])


def _extreme(vertices, count):
  """Indices of the extreme vertices in `count` directions, uniform after whitening the vertices, so
  that long thin bodies are sampled along their length."""
  k = np.arange(count) + 0.5
  height, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
  across = np.sqrt(1 - height**2)
  even = np.stack([across * np.cos(angle), across * np.sin(angle), height])
  directions = np.linalg.solve(np.linalg.cholesky(np.cov(vertices.T)).T, even)  # [3, count]
  best, index = np.full(count, -np.inf), np.zeros(count, int)
  for start in range(0, len(vertices), CHUNK):
    value = directions.T @ vertices[start:start + CHUNK].T
    here = value.argmax(1)
    value = value[np.arange(count), here]
    index = np.where(value > best, start + here, index)
    best = np.maximum(value, best)
  return np.unique(index)


def _beyond(vertices, subset):
  """The largest distance of vertices [K, 3] from the hull of subset [k, 3].

  The triangle of the plane that a vertex exceeds most bounds its distance; distances to all
  triangles are computed in the order of the bounds, until no bound exceeds the largest distance.
  """
  hull = spatial.ConvexHull(subset)
  triangles = subset[hull.simplices]
  bound = np.zeros(len(vertices))
  for start in range(0, len(vertices), CHUNK):
    part = vertices[start:start + CHUNK]
    above = part @ hull.equations[:, :3].T + hull.equations[:, 3]
    nearest = above.argmax(1)
    outside = np.flatnonzero(above[np.arange(len(part)), nearest] > 0)
    bound[start + outside] = _distances(part[outside], triangles[nearest[outside]])
  order, largest = np.argsort(-bound), 0.0
  for start in range(0, len(order), PART):
    part = order[start:start + PART]
    if bound[part[0]] <= largest:
      break
    part = part[bound[part] > 0]
    pairs = _distances(np.repeat(vertices[part], len(triangles), 0),
                       np.tile(triangles, (len(part), 1, 1)))
    largest = max(largest, pairs.reshape(len(part), -1).min(1).max())
  return float(largest)


def _tetrahedron(vertices):
  """Indices of four vertices that span a volume: each the furthest from those before."""
  first = int(np.argmin(vertices[:, 2]))
  offset = vertices - vertices[first]
  second = int(np.argmax(np.linalg.norm(offset, axis=1)))
  normal = np.cross(offset, offset[second])
  third = int(np.argmax(np.linalg.norm(normal, axis=1)))
  fourth = int(np.argmax(np.abs(offset @ normal[third])))
  return [first, second, third, fourth]


def _distances(points, triangles):
  """The distance [N] of each point [N, 3] from its triangle [N, 3, 3]."""
  return np.linalg.norm(trimesh.triangles.closest_point(triangles, points) - points, axis=1)

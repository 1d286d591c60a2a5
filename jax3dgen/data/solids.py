"""Random solids by seed, convex and concave, for comparisons of engines.

A third to two thirds of each kind are stable. A solid is a closed Mesh, +z up, its bounding box
centred at the origin with the largest extent 1. The same seed gives the same solid: all draws are
numpy's, and manifold3d is deterministic.
"""

import manifold3d
import numpy as np

from jax3dgen.core.types import Mesh
from jax3dgen.scene import mesh as meshes

KINDS = ('flat', 'noisy', 'legs', 'blob', 'table', 'stack', 'bitten')  # the last three are concave


def kind(seed):
  """The kind of `random_solid(seed)`: kinds take turns."""
  return KINDS[seed % len(KINDS)]


def random_solid(seed):
  """A Mesh (vertices float32, faces int32) for a whole number `seed` >= 0.

  'flat' is the hull of a polygon and a leaning cloud of points, 'noisy' the same with a base that
  is uneven by a hundredth of its size, 'legs' one that stands on 3 to 5 points, 'blob' a cloud's
  hull, about on one of its faces; 'table' is a slab on 3 to 5 thin legs, 'stack' a leaning stack of
  boxes and hulls, 'bitten' a 'flat' solid with hulls cut out of its upper part.
  """
  solid = _MAKERS[kind(seed)](np.random.default_rng(seed)).to_mesh64()
  vertices = np.asarray(solid.vert_properties)[:, :3]
  vertices, faces = meshes.largest_shell(vertices, np.asarray(solid.tri_verts, np.int64))
  low, high = vertices.min(0), vertices.max(0)
  vertices = (vertices - 0.5 * (low + high)) / (high - low).max()
  return Mesh(vertices.astype(np.float32), faces)


def _hull(points):
  return manifold3d.Manifold.hull_points(np.asarray(points, np.float64))


def _ring(rng, count, radius):
  """About evenly spread points [count, 3] round the origin at z = 0."""
  angle = 2 * np.pi * (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count
  spread = radius * rng.uniform(0.7, 1.3, count)
  return np.stack([spread * np.cos(angle), spread * np.sin(angle), np.zeros(count)], 1)


def _cloud(rng, bottom, lean):
  """8 to 30 points above `bottom`, their middle a normal step of size `lean` from the axis."""
  points = rng.normal(size=(rng.integers(8, 31), 3)) * rng.uniform(0.15, 0.4, 3)
  points[:, 2] += bottom - points[:, 2].min()
  points[:, :2] += rng.normal(0, lean, 2)
  return points


def _flat(rng, bump=0.0):
  base = _ring(rng, rng.integers(4, 10), rng.uniform(0.1, 0.4))
  base[:, 2] += rng.uniform(0, bump, len(base))
  return _hull(np.concatenate([base, _cloud(rng, 0.05, 0.4)]))


def _noisy(rng):
  return _flat(rng, 0.02)


def _legs(rng):
  feet = _ring(rng, rng.integers(3, 6), rng.uniform(0.15, 0.5))
  return _hull(np.concatenate([feet, _cloud(rng, 0.25, 0.17)]))


def _blob(rng):
  points = rng.normal(size=(rng.integers(12, 101), 3)) * rng.uniform(0.1, 0.5, 3)
  surface = _hull(points).to_mesh64()
  a, b, c = np.moveaxis(np.asarray(surface.vert_properties)[np.asarray(surface.tri_verts)], 1, 0)
  area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
  face = rng.choice(len(area), p=area / area.sum())
  down = np.cross(b - a, c - a)[face] / area[face] + rng.normal(0, 0.02, 3)
  across = np.cross(down, b[face] - a[face])
  axes = np.stack([np.cross(down, across), across, -down])
  return _hull(points @ (axes / np.linalg.norm(axes, axis=1, keepdims=True)).T)


def _table(rng):
  feet = _ring(rng, rng.integers(3, 6), rng.uniform(0.15, 0.5))
  feet[:, 2] += rng.uniform(0, 0.01, len(feet))
  top = _cloud(rng, rng.uniform(0.3, 0.8), 0.15)
  solid = _hull(top)
  width = np.array([(-1, -1, 0), (-1, 1, 0), (1, -1, 0), (1, 1, 0)]) * rng.uniform(0.01, 0.05)
  for foot in feet:
    solid += _hull(np.concatenate([foot + width, top.mean(0) + width]))
  return solid


def _stack(rng):
  solid, middle = manifold3d.Manifold(), np.zeros(3)
  for _ in range(rng.integers(3, 6)):
    size = rng.uniform(0.1, 0.35, 3)
    corners = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3), -1).reshape(-1, 3)
    points = corners if rng.random() < 0.5 else rng.normal(size=(12, 3))
    solid += _hull(middle + size * points)
    middle = middle + np.array([*rng.normal(0, 0.12, 2), rng.uniform(0.2, 0.4)])
  return solid


def _bitten(rng):
  solid = _flat(rng)
  vertices = np.asarray(solid.to_mesh64().vert_properties)[:, :3]
  upper = vertices[vertices[:, 2] > 0.05]
  for _ in range(rng.integers(1, 4)):
    middle = 0.8 * upper[rng.integers(len(upper))] + 0.2 * vertices.mean(0)
    solid -= _hull(middle + rng.normal(size=(12, 3)) * rng.uniform(0.1, 0.25, 3))
  return solid


_MAKERS = {'flat': _flat, 'noisy': _noisy, 'legs': _legs, 'blob': _blob, 'table': _table,
           'stack': _stack, 'bitten': _bitten}

"""Small pictures and point clouds of meshes, for pages that show many of them.

Both use points spread evenly over the surface, which works for open, damaged and very large meshes.
Frames: +z up; pictures are orthographic.
"""

import numpy as np

from jax3dgen.scene import mesh as meshes

AZIMUTH, ELEVATION = np.deg2rad(30.0), np.deg2rad(20.0)
LIGHT = np.array([0.45, 0.25, 0.86])
FINE = 2  # supersampling per side of a pixel


def surface_points(mesh, count, seed=0):
  """`count` points [N, 3] spread over the surface of a Mesh, their unit normals [N, 3] and faces.

  They are stratified by area.
  """
  rng = np.random.default_rng(seed)
  place = (np.arange(count) + rng.random(count)) / count
  points, face, cross = meshes.sample_surface(
      np.asarray(mesh.vertices, np.float64), mesh.faces, place, *rng.random((2, count)))
  length = np.linalg.norm(cross, axis=1)
  return points, (cross / np.maximum(length, np.finfo(float).tiny)[:, None])[face], face


def picture(mesh, size=64):
  """A Mesh from its front left on white, uint8 [size, size, 3], in its colours where it has any."""
  side = size * FINE
  points, normals, face = surface_points(mesh, 6 * side * side)
  low, high = mesh.vertices.min(0), mesh.vertices.max(0)
  points = (points - 0.5 * (low + high)) / np.linalg.norm(high - low)
  ca, sa, ce, se = (f(x) for x in (AZIMUTH, ELEVATION) for f in (np.cos, np.sin))
  toward = np.array([ca * ce, sa * ce, se])
  right, up = np.array([-sa, ca, 0.0]), np.array([-ca * se, -sa * se, ce])
  column = np.clip((0.5 + points @ right) * side, 0, side - 1).astype(int)
  row = np.clip((0.5 - points @ up) * side, 0, side - 1).astype(int)
  normals *= np.sign(normals @ toward)[:, None]
  shade = 0.45 + 0.55 * np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
  color = np.full((len(points), 3), 0.72)
  if mesh.colors is not None:
    color = np.asarray(mesh.colors)[mesh.faces].mean(1)[face]
  order = np.argsort(points @ toward, kind='stable')  # the nearest last
  canvas = np.ones((side, side, 3))
  canvas[row[order], column[order]] = (shade[:, None] * color)[order]
  small = canvas.reshape(size, FINE, size, FINE, 3).mean((1, 3))
  return np.round(255 * small).astype(np.uint8)

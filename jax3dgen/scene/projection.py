"""Colours of a mesh by projection of the picture that it was generated from.

The camera of the picture is unknown: `fit` takes the candidate whose silhouette overlaps most with
the object's mask, both scaled to the same box. A silhouette does not tell front from back, so the
candidates' azimuths should span less than a half turn. Axes: V vertices, H and W pixels.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage, spatial

from jax3dgen.core import camera as cameras
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Camera
from jax3dgen.scene import mesh as meshes
from jax3dgen.scene import zbuffer

SIZE = 96  # pixels per side of a candidate's silhouette
SLACK = 0.02  # of the mesh's extent: depth within which a vertex counts as visible
FACING = 0.15  # cosine between normal and ray below which a vertex has no colour of its own
NEIGHBORS = 4  # vertices with a colour that a vertex without takes the mean of


class Fit(NamedTuple):
  """A camera (one row) and the map of its unit picture to the picture's pixels, scale * p + shift
  [2] (x, y); `overlap` is the intersection over union of the silhouettes."""
  camera: Camera
  scale: float
  shift: np.ndarray
  overlap: float


def fit(mesh, mask, azimuths, elevations, distance, fovy):
  """The best Fit of a Mesh to the object's mask [H, W] over all pairs of candidates (radians)."""
  mask = np.asarray(mask, bool)
  if not mask.any():
    raise ConfigError('The mask of the picture is empty.')
  pairs = [(a, e) for a in azimuths for e in elevations]
  camera = cameras.orbit(*np.asarray(pairs, np.float32).T, distance, fovy)
  silhouettes = np.isfinite(zbuffer.depths(mesh, camera, SIZE))
  fits = [(pair, *_overlap(mask, silhouette))
          for pair, silhouette in zip(pairs, silhouettes, strict=True) if silhouette.any()]
  if not fits:
    raise ConfigError('No candidate camera sees the mesh.')
  pair, *best = max(fits, key=lambda fit: fit[-1])
  return Fit(cameras.orbit(*(np.asarray([x], np.float32) for x in pair), distance, fovy), *best)


def _overlap(mask, silhouette):
  """(scale, shift [2], overlap): the silhouette's unit picture moved and scaled to the mask's box.
  """
  low, high = _box(mask)
  first, last = _box(silhouette)
  scale = (high - low).max() / (last - first).max() * SIZE
  shift = 0.5 * (low + high) - scale * 0.5 * (first + last) / SIZE
  rows, columns = np.indices(mask.shape) + 0.5
  x, y = (columns - shift[0]) / scale * SIZE, (rows - shift[1]) / scale * SIZE
  inside = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE)
  shape = np.zeros_like(mask)
  shape[inside] = silhouette[y[inside].astype(int), x[inside].astype(int)]
  return float(scale), shift, float((shape & mask).sum() / (shape | mask).sum())


def _box(mask):
  """The corners (x, y) [2] of the box around the pixels of a mask, first and beyond the last."""
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  return (np.array([columns[0], rows[0]], float), np.array([columns[-1], rows[-1]], float) + 1)


def colored(mesh, picture, mask, fitted):
  """The Mesh with sRGB vertex colours from a picture [H, W, 3] in [0, 1].

  A vertex that the fitted camera sees, facing it and within the mask [H, W], has the colour at its
  place (bilinear); every other has the mean colour of the NEIGHBORS nearest of these.
  """
  vertices = np.asarray(mesh.vertices, np.float64)
  place, depth = zbuffer.project(vertices, fitted.camera, 0, 1)
  surface = zbuffer.depths(mesh, fitted.camera, 4 * SIZE)[0]
  cell = np.clip((place * 4 * SIZE).astype(int), 0, 4 * SIZE - 1)
  reach = SLACK * np.ptp(vertices, 0).max()
  ray = vertices - np.asarray(fitted.camera.c2w[0, :3, 3], np.float64)[None]
  ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
  visible = (depth < surface[cell[:, 1], cell[:, 0]] + reach)
  normal = np.asarray(meshes.normals(vertices, np.asarray(mesh.faces)))
  visible &= -(normal * ray).sum(-1) > FACING
  x, y = (fitted.scale * place + fitted.shift[None] - 0.5).T
  at = lambda plane: ndimage.map_coordinates(np.asarray(plane, np.float64), [y, x], order=1,
                                             mode='nearest')
  visible &= at(np.asarray(mask, float)) > 0.99
  if not visible.any():
    raise ConfigError('The picture shows no part of the mesh.')
  picture = np.asarray(picture, np.float64)
  colors = np.stack([at(picture[..., k]) for k in range(3)], -1)
  count = min(NEIGHBORS, int(visible.sum()))
  gap, near = spatial.cKDTree(vertices[visible]).query(vertices[~visible], count)
  weight = 1 / np.maximum(gap.reshape(-1, count), 1e-6)
  known = colors[visible][near.reshape(-1, count)]
  colors[~visible] = (weight[..., None] * known).sum(1) / weight.sum(1)[:, None]
  return mesh.replace(colors=np.clip(colors, 0, 1).astype(np.float32))

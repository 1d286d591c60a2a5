"""Normalisation of meshes in position and size, since contact parameters are absolute lengths."""

import numpy as np

from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.physics import surface
from jax3dgen.scene import mesh as meshes

MODES = ('none', 'unit_cube', 'dso')


def normalize(mesh, mode):
  """(Mesh, scale [], offset [3]) with vertices (v - offset) * scale, on the host in float64.

  'none' changes nothing; 'unit_cube' centres the bounding box and scales the largest extent to 1;
  'dso' centres the mean vertex and scales the largest absolute coordinate to 0.5, as in DSO's
  evaluation. Only vertices of faces count, coincident ones once, so that seams and stray points
  have no effect.
  """
  if mode not in MODES:
    raise ConfigError(f'A mesh is normalised by {", ".join(MODES)}, not {mode!r}.')
  vertices, faces = meshes.checked(mesh)
  used = vertices[surface.compact(faces, len(vertices))[0]]
  scale, offset = 1.0, np.zeros(3)
  if mode != 'none':
    low, high = used.min(0), used.max(0)
    if not (high > low).any():
      raise MeshError('The mesh is a single point.')
    if mode == 'unit_cube':
      offset, reach = 0.5 * low + 0.5 * high, (high - low).max()
    else:
      offset = used[surface.distinct(used)[0]].mean(0)
      reach = 2 * np.maximum(high - offset, offset - low).max()
    scale = 1.0 / reach
  return mesh.replace(vertices=(vertices - offset) * scale), float(scale), offset

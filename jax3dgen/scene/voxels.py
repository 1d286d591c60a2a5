"""Meshes of occupancy logits on a grid, for generators that predict voxels.

Grids are [R, R, R] with axes x, y, z (+z up); voxel (i, j, k) is centred at ((i, j, k) + 0.5) / R -
0.5, so that the grid fills the cube [-0.5, 0.5]^3. A voxel is occupied where its logit is positive,
and voxels that share a corner belong to one part. All on the host.
"""

import numpy as np
from skimage import measure

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.scene import mesh as meshes

SMALLEST = 0.03  # parts with a smaller share of the largest part's voxels are dropped
OUTSIDE = -8.0  # logit of the voxels round the grid
DROPPED = -0.5  # logit of the voxels of dropped parts
NUDGE = 0.01  # keeps vertices off the voxel centres, where triangles would have no area


def mesh(logits, smallest=SMALLEST, which='parts'):
  """The surface logit = 0 of logits [R, R, R] as a closed Mesh (float32 vertices).

  which: 'parts' keeps every part with at least `smallest` times the voxels of the largest, as one
  body; 'largest' keeps the largest part alone. MeshError where no voxel is occupied or a logit is
  not finite.
  """
  if which not in ('parts', 'largest'):
    raise ValueError(f"which={which!r} is neither 'parts' nor 'largest'.")
  grid, label, sizes = _parts(logits)
  least = sizes.max() if which == 'largest' else smallest * sizes.max()
  kept = np.flatnonzero(sizes >= least)[:1 if which == 'largest' else None] + 1
  grid[(label > 0) & ~np.isin(label, kept)] = DROPPED
  grid = np.where(np.abs(grid) < NUDGE, np.where(grid > 0, NUDGE, -NUDGE), grid)
  vertices, faces, _, _ = measure.marching_cubes(grid, 0.0, gradient_direction='ascent')
  return Mesh(((vertices - 0.5) / len(logits) - 0.5).astype(np.float32), faces.astype(np.int32))


def parts(logits, smallest=SMALLEST):
  """The number of parts that `mesh` keeps as one body; 0 where no voxel is occupied."""
  try:
    sizes = _parts(logits)[2]
  except MeshError:
    return 0
  return int((sizes >= smallest * sizes.max()).sum())


def cut(mesh, height):
  """A closed Mesh without its lowest `height` (in its units), closed by a horizontal plane.

  It evens out a sole that marching cubes left uneven; half a voxel of R^3 is 0.5 / R. All pieces
  above the plane are kept. `height` 0 returns the mesh as it is. MeshError where nothing is left or
  the surface bounds no solid.
  """
  if height == 0:
    return mesh
  return meshes.above(mesh, float(mesh.vertices[:, 2].min()) + height)


def _parts(logits):
  """(grid [R + 2] * 3 with an empty layer round it, labels of its parts from 1, voxels of each)."""
  logits = np.asarray(logits, np.float32)
  if not np.isfinite(logits).all():
    raise MeshError('The occupancy has logits that are not finite.')
  if not (logits > 0).any():
    raise MeshError('The occupancy is empty: no logit is positive.')
  grid = np.pad(logits, 1, constant_values=OUTSIDE)
  label = measure.label(grid > 0, connectivity=3)
  return grid, label, np.bincount(label.ravel())[1:]

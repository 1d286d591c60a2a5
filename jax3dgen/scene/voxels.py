"""Meshes of occupancy logits on a grid, for generators that predict voxels.

Grids are [R, R, R] with axes x, y, z (+z up); voxel (i, j, k) is centred at ((i, j, k) + 0.5) / R -
0.5, so that the grid fills the cube [-0.5, 0.5]^3. A voxel is occupied where its logit is positive,
and voxels that share a corner belong to one part. All on the host.
"""

from typing import NamedTuple

import numpy as np
from skimage import measure

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.scene import mesh as meshes

SMALLEST = 0.03  # parts with a smaller share of the largest part's voxels are dropped
OUTSIDE = -8.0  # logit of the voxels round the grid
DROPPED = -0.5  # logit of the voxels of dropped parts
NUDGE = 0.01  # keeps vertices off the voxel centres, where triangles would have no area


class Occupancy(NamedTuple):
  """A grid with the connected parts of its occupied voxels.

  grid [R + 2, R + 2, R + 2] float32, the logits with an empty layer round them; part, of the same
  shape, the part of each voxel from 1, 0 where it is empty; sizes [N], the voxels of each part.
  """
  grid: np.ndarray
  part: np.ndarray
  sizes: np.ndarray


def occupancy(logits):
  """The Occupancy of logits [R, R, R], for `surface` and `count`.

  MeshError where no voxel is occupied or a logit is not finite.
  """
  logits = np.asarray(logits, np.float32)
  if not np.isfinite(logits).all():
    raise MeshError('The occupancy has logits that are not finite.')
  if not (logits > 0).any():
    raise MeshError('The occupancy is empty: no logit is positive.')
  grid = np.pad(logits, 1, constant_values=OUTSIDE)
  part = measure.label(grid > 0, connectivity=3)
  return Occupancy(grid, part, np.bincount(part.ravel())[1:])


def surface(occupancy, smallest=SMALLEST, which='parts'):
  """The surface logit = 0 of an Occupancy as a closed Mesh (float32 vertices).

  which: 'parts' keeps every part with at least `smallest` times the voxels of the largest, as one
  body; 'largest' keeps the largest part alone.
  """
  if which not in ('parts', 'largest'):
    raise ValueError(f"which={which!r} is neither 'parts' nor 'largest'.")
  grid, part, sizes = occupancy
  stays = sizes >= smallest * sizes.max()
  if which == 'largest':
    stays = np.arange(len(sizes)) == np.argmax(sizes)
  if not stays.all():
    grid = np.where(np.concatenate([[True], stays])[part], grid, np.float32(DROPPED))
  grid = np.where(np.abs(grid) < NUDGE, np.where(grid > 0, NUDGE, -NUDGE), grid)
  vertices, faces, _, _ = measure.marching_cubes(grid, 0.0, gradient_direction='ascent')
  return Mesh(((vertices - 0.5) / (len(grid) - 2) - 0.5).astype(np.float32),
              faces.astype(np.int32))


def count(occupancy, smallest=SMALLEST):
  """The number of parts that `surface` keeps as one body."""
  return int((occupancy.sizes >= smallest * occupancy.sizes.max()).sum())


def mesh(logits, smallest=SMALLEST, which='parts'):
  """The `surface` of logits [R, R, R]; MeshError where they have none."""
  return surface(occupancy(logits), smallest, which)


def parts(logits, smallest=SMALLEST):
  """The `count` of logits [R, R, R]; 0 where no voxel is occupied or a logit is not finite."""
  try:
    return count(occupancy(logits), smallest)
  except MeshError:
    return 0


def cut(mesh, height):
  """A closed Mesh without its lowest `height` (in its units), closed by a horizontal plane.

  It evens out a sole that marching cubes left uneven; half a voxel of R^3 is 0.5 / R. All pieces
  above the plane are kept. `height` 0 returns the mesh as it is. MeshError where nothing is left or
  the surface bounds no solid.
  """
  if height == 0:
    return mesh
  return meshes.above(mesh, float(mesh.vertices[:, 2].min()) + height)

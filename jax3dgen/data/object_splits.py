"""The objects on which the image-to-3D generator is trained, tuned and measured, apart by seed.

'train' are the objects of its training; 'pool' those whose pictures are the pool of preference
tuning: other ones, so that its samples there are as good as on held-out pictures and tuning needs
nothing but pictures; 'validation' those by which settings are chosen; 'test' those of the tables.
"""

import numpy as np

from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.data import objects
from jax3dgen.physics import body, sweep
from jax3dgen.scene import voxels

SPAN = 10_000_000  # seeds of each split
SPLITS = ('train', 'pool', 'validation', 'test')
CUT = 0.5  # voxels
SECONDS, TIMESTEP = 10.0, 4e-3


def seeds(split, count, first=0):
  """The seeds [first, first + count) of a split; ConfigError where it has none of that name."""
  if split not in SPLITS:
    raise ConfigError(f'split={split!r}: the splits are {", ".join(SPLITS)}.')
  if first < 0 or count < 0 or first + count > SPAN:
    raise ConfigError(f'A split has {SPAN:,} seeds; {first} and {count} more lie outside.')
  start = SPAN * SPLITS.index(split) + first
  return range(start, start + count)


def stands(logits):
  """Whether objects of logits [B, R, R, R] stay within 20 degrees for 10 s, bool [B] (numpy).

  All parts of `voxels.mesh` are one body, its lowest half voxel is cut off, C MuJoCo drops it.
  False for one without a surface, or that encloses no volume.
  """
  bodies = {}
  for i, grid in enumerate(np.asarray(logits)):
    try:
      bodies[i] = body.of_surface(voxels.mesh(grid), CUT / len(grid))
    except MeshError:
      continue
  out = np.zeros(len(logits), bool)
  if bodies:
    result = sweep.upright(bodies.values(), seconds=SECONDS, timestep=TIMESTEP)
    out[list(bodies)] = result.stable[:, 0]
  return out


def standing(split, count, first=0, kinds=()):
  """The first `count` seeds of a split, from number `first` on, of objects of the `kinds` (all
  without names) that stand (`stands` of their true logits)."""
  out, size = [], max(10, 2 * count)
  while len(out) < count:
    chunk = [seed for seed in seeds(split, size, first)
             if not kinds or objects.KINDS[seed % len(objects.KINDS)] in kinds]
    out += [seed for seed, ok in zip(chunk, stands(objects.logits(objects.draw(chunk)))) if ok]
    first += size
  return out[:count]

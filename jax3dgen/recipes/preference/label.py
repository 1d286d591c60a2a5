"""Stability labels of generated occupancies: logits -> mesh -> rigid body -> drop test.

The label that training sees is of all parts as one rigid body after a flat cut, which evens out the
sole. Two stricter judges beside it are never trained on: `raw`, without the cut, and `largest`, the
largest part alone. A sample that cannot be judged is unstable, with the reason in words.
"""

from concurrent import futures
import functools

import numpy as np

from jax3dgen.core import machine
from jax3dgen.core.errors import Jax3dgenError, MeshError
from jax3dgen.physics import body as bodies
from jax3dgen.physics import native, normalize, sweep
from jax3dgen.scene import voxels

JUDGES = ('cut', 'raw', 'largest')
REASON = 'U160'  # the longest text of a reason
LEAST = 16  # bodies of a batch, so that few sizes are compiled


def label(logits, cfg, margins=False):
  """{name: host array [n]} for logits [n, R, R, R] by the section config.label.

  stable_cut, stable_raw and stable_largest, bool; rotation_deg in [0, 180] of the first (NaN where
  it could not be judged or the simulation diverged), settled whether it came to rest; parts, the
  number of parts; volume, the share of occupied voxels; reason, '' where all could be judged. With
  `margins` also margin_deg, the settled stability margin of the first, -180 where it has none.
  """
  count = len(logits)
  with futures.ThreadPoolExecutor(machine.cores()) as pool:
    solids = list(pool.map(lambda grid: bodies_of(grid, cfg), logits))
  table = {
      **{f'stable_{judge}': np.zeros(count, bool) for judge in JUDGES},
      'rotation_deg': np.full(count, np.nan, np.float32), 'settled': np.zeros(count, bool),
      'parts': np.array([parts for _, parts, _ in solids], np.int32),
      'volume': np.array([(grid > 0).mean() for grid in logits], np.float32),
      'reason': np.array([reason for _, _, reason in solids], REASON)}
  keys = [(i, judge) for i, (items, _, _) in enumerate(solids) for judge in items]
  if margins:
    table['margin_deg'] = np.full(count, -180.0, np.float32)
  if not keys:
    return table
  items = [solids[i][0][judge] for i, judge in keys]
  result = drop(items, cfg)
  for k, (i, judge) in enumerate(keys):
    same = ('cut', 'largest') if judge == 'cut' and 'largest' not in solids[i][0] else (judge,)
    for name in same:
      table[f'stable_{name}'][i] = result.stable[k, 0]
    if judge == 'cut':
      table['rotation_deg'][i] = result.rotation_deg[k, 0]
      table['settled'][i] = result.settled[k, 0]
    if result.errors[k] and not table['reason'][i]:
      table['reason'][i] = f'{judge}: {result.errors[k]}'
  if margins:
    chosen = {i: item for (i, judge), item in zip(keys, items) if judge == 'cut'}
    table['margin_deg'][list(chosen)] = _margins_deg(list(chosen.values()))
  return table


def _margins_deg(items):
  """Settled stability margins [M] in degrees of bodies released upright."""
  packed = bodies.pack(items)
  return np.rad2deg(sweep.margins(packed, sweep.tilts(0, 0.0, None), LEAST)[:, 0])


def drop(items, cfg):
  """The `sweep.Result` of bodies released upright, by the section config.label."""
  return sweep.upright(items, cfg.engine, cfg.seconds, cfg.timestep, cfg.threshold_deg, LEAST)


def mesh(logits, cfg):
  """The Mesh of logits [R, R, R] after the flat cut; MeshError where they have none, or nothing is
  left of it."""
  return voxels.cut(voxels.mesh(logits, cfg.smallest), cfg.cut / len(logits))


def bodies_of(logits, cfg):
  """({judge: Body}, number of parts, reason) of one sample; a judge without a body is left out, and
  so is `largest` where there is one part."""
  try:
    occupancy = voxels.occupancy(logits)
  except MeshError as error:
    return {}, 0, '; '.join(f'{judge}: {error}' for judge in JUDGES)
  parts, items, reasons = voxels.count(occupancy, cfg.smallest), {}, []
  surface = functools.cache(lambda which: voxels.surface(occupancy, cfg.smallest, which))
  for judge in JUDGES if parts != 1 else JUDGES[:2]:
    try:
      items[judge] = _body(surface('largest' if judge == 'largest' else 'parts'),
                           0.0 if judge == 'raw' else cfg.cut / len(logits), cfg)
    except Jax3dgenError as error:
      reasons.append(f'{judge}: {error}')
  return items, parts, '; '.join(reasons)


def _body(mesh, height, cfg):
  """The Body of a Mesh without its lowest `height`."""
  if cfg.normalize != 'none':
    mesh, scale, _ = normalize.normalize(mesh, cfg.normalize)
    height *= scale
  solid = bodies.of_surface(mesh, height)
  if cfg.inertia == 'mujoco_legacy':
    return native.with_legacy_inertia(solid, voxels.cut(mesh, height))
  return solid

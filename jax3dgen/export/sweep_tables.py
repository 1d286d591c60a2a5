"""The tables of a stability sweep: one row per mesh, and one per mesh and tilt.

A mesh without a valid body has a row with the reason in `error` and nothing else, and so has a body
that an engine refuses in the rows of that engine.
"""

import csv
import os
from typing import NamedTuple

import numpy as np

from jax3dgen.core import files
from jax3dgen.core.errors import MeshError
from jax3dgen.export import mesh_io, thumbnail, turntable
from jax3dgen.physics import body as bodies
from jax3dgen.physics import native, normalize
from jax3dgen.scene import mesh as meshes

POINTS = 2500  # of a mesh's surface, for the page
RESULTS = ('mesh', 'engine', 'runs', 'stable_rate', 'rotation_deg_mean', 'rotation_deg_max',
           'margin_deg', 'volume', 'com_x', 'com_y', 'com_z', 'watertight', 'seconds', 'error',
           'body', 'note')
RUNS = ('mesh', 'engine', 'run', 'tilt_deg', 'lean_azimuth_deg', 'stable', 'rotation_deg',
        'diverged', 'settled')


class Item(NamedTuple):
  """One mesh of a sweep: its Body, or the `error` that prevents one.

  volume and center are in the file's units and frame (+z up), before normalisation. points and
  normals [N, 3] lie on the surface, hull [V, 3] are the corners of its convex hull, both about the
  centre of mass in the units of the simulation. picture: the bytes of a PNG file.
  """
  name: str
  error: str = ''
  body: bodies.Body | None = None
  watertight: bool | None = None
  volume: float | None = None
  center: np.ndarray | None = None
  picture: bytes = b''
  points: np.ndarray | None = None
  normals: np.ndarray | None = None
  hull: np.ndarray | None = None


def examine(path, name, up='auto', mode='unit_cube', inertia='exact', density=1000.0):
  """The Item of a mesh file; a MeshError becomes its `error`."""
  try:
    mesh = mesh_io.read(path, up)
    normalized, scale, offset = normalize.normalize(mesh, mode)
    solid = bodies.from_mesh(normalized, density)
    solid = solid.replace(note='; '.join(filter(None, (*mesh.notes, solid.note))))
    if inertia == 'mujoco_legacy':
      mass, center, tensor = native.legacy_figures(normalized, density, solid.scale)
      solid = solid.replace(mass=mass, center=center, inertia=tensor)
    points, normals, _ = thumbnail.surface_points(normalized, POINTS)
  except MeshError as error:
    return Item(name, str(error).removeprefix(f'{path}: '))
  except MemoryError:
    return Item(name, 'there is not enough memory for this mesh.')
  unit = scale * solid.scale  # simulated units per unit of the file
  about = lambda x: np.asarray(x) * solid.scale - solid.center
  [(_, packed)] = bodies.pack([solid]).buckets
  return Item(
      name, '', solid, meshes.is_watertight(mesh.faces), solid.mass / density / unit**3,
      solid.center / unit + offset, turntable.png(thumbnail.picture(mesh)), about(points), normals,
      packed.hull[0])


def rows(items, engine, result, margins_deg, seconds):
  """Rows of results.csv: `result` and `margins_deg` [M] are of the items without an error.

  `seconds` is the wall time of the engine for all of them; a row gets an equal share.
  """
  table, indices = [], iter(range(len(margins_deg)))
  for item in items:
    k = None if item.error else next(indices)
    error = item.error or str(result.errors[k])
    row = dict.fromkeys(RESULTS) | {'mesh': item.name, 'engine': engine, 'error': error}
    if not error:
      rotation = result.rotation_deg[k]
      finite = rotation[np.isfinite(rotation)]
      row |= {
          'runs': len(rotation), 'stable_rate': float(result.stable[k].mean()),
          'rotation_deg_mean': float(finite.mean()) if len(finite) else None,
          'rotation_deg_max': float(finite.max()) if len(finite) else None,
          'margin_deg': float(margins_deg[k]), 'volume': item.volume,
          **dict(zip(('com_x', 'com_y', 'com_z'), map(float, item.center), strict=True)),
          'watertight': item.watertight, 'seconds': seconds / len(margins_deg),
          'body': item.body.status, 'note': item.body.note}
    table.append(row)
  return table


def run_rows(items, engine, result, tilts):
  """Rows of runs.csv."""
  names = [item.name for item in items if not item.error]
  angle, azimuth = lean(tilts)
  for m, name in enumerate(names):
    for p in range(0 if result.errors[m] else len(tilts)):
      yield {'mesh': name, 'engine': engine, 'run': p, 'tilt_deg': float(angle[p]),
             'lean_azimuth_deg': float(azimuth[p]), 'stable': bool(result.stable[m, p]),
             'rotation_deg': float(result.rotation_deg[m, p]),
             'diverged': bool(result.diverged[m, p]), 'settled': bool(result.settled[m, p])}


def lean(tilts):
  """(angle, azimuth) in degrees [...] of the lean of a mesh under tilts [..., 3]."""
  return (np.rad2deg(np.linalg.norm(tilts, axis=-1)),
          np.rad2deg(np.arctan2(-tilts[..., 0], tilts[..., 1])) % 360)


def write_csv(path, columns, table):
  """Writes rows (dicts) as a CSV file, atomically; None and NaN become empty cells."""
  with files.replacing(path) as beside, open(beside, 'w', encoding='utf-8', newline='') as file:
    writer = csv.DictWriter(file, columns, lineterminator='\n')
    writer.writeheader()
    for row in table:
      writer.writerow({key: _text(value) for key, value in row.items()})


def _text(value):
  if value is None or value != value:
    return ''
  return str(value).lower() if isinstance(value, bool) else (
      f'{value:.12g}' if isinstance(value, float) else value)


def name_of(path, root):
  """`path` relative to `root`, as valid UTF-8; other bytes are escaped."""
  return os.fsencode(os.path.relpath(path, root)).decode(errors='backslashreplace')

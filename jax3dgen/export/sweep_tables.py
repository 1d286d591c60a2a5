"""The tables of a stability sweep: one row per mesh, and one per mesh and tilt.

A mesh without a valid body has a row with the reason in `error` and nothing else, and so has a body
that an engine refuses in the rows of that engine. The bodies of an MJCF file are meshes of their
own, with the name of the body behind a '#'.
"""

import csv
import io
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
  centre of mass in the units of the simulation. picture: the bytes of a PNG file. The mesh is
  number `place` in the file `path`; `files` were opened besides.
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
  note: str = ''
  path: str = ''
  place: int = 0
  files: tuple = ()


def examine(path, name, up='auto', mode='unit_cube', inertia='exact', density=1000.0):
  """[Item] of the meshes of a file; a MeshError becomes the `error` of one."""
  try:
    solids = mesh_io.read_solids(path, up)
  except (MeshError, MemoryError) as error:
    return [Item(name, _reason(error, path), path=os.path.abspath(path))]
  items = []
  for place, solid in enumerate(solids):
    item = Item(f'{name}#{solid.name}' if solid.name else name, path=os.path.abspath(path),
                place=place, files=tuple(map(os.path.abspath, solid.files)))
    try:
      items.append(item._replace(**_figures(solid, mode, inertia, density)))
    except (MeshError, MemoryError) as error:
      items.append(item._replace(error=_reason(error, path)))
  return items


def _reason(error, path):
  if isinstance(error, MemoryError):
    return 'there is not enough memory for this mesh.'
  return str(error).removeprefix(f'{path}: ')


def _figures(solid, mode, inertia, density):
  """The fields of the Item of a `mesh_io.Solid`."""
  normalized, scale, offset = normalize.normalize(solid.mesh, mode)
  if solid.body is None:
    body = bodies.from_mesh(normalized, density)
    if inertia == 'mujoco_legacy':
      body = native.with_legacy_inertia(body, normalized, density)
    volume = body.mass / density / (scale * body.scale)**3
  else:
    contact, mass, center, tensor = solid.body
    body = bodies.of_points((contact - offset) * scale, mass * scale**3, (center - offset) * scale,
                            tensor * scale**5)
    volume = _volume(normalized, scale)
  points, normals, _ = thumbnail.surface_points(normalized, POINTS)
  about = lambda x: np.asarray(x) * body.scale - body.center
  [(_, packed)] = bodies.pack([body]).buckets
  return {
      'body': body, 'watertight': meshes.is_watertight(solid.mesh.faces), 'volume': volume,
      'center': body.center / (scale * body.scale) + offset,
      'picture': turntable.png(thumbnail.picture(solid.mesh)),
      'points': about(points).astype(np.float32), 'normals': normals.astype(np.float32),
      'hull': packed.hull[0], 'note': '; '.join(filter(None, [*solid.mesh.notes, body.note]))}


def _volume(mesh, scale):
  """The volume of what an MJCF file shows, in its units; None where that bounds no solid."""
  try:
    solid = bodies.from_mesh(mesh, 1.0)
  except MeshError:
    return None
  return solid.mass / (scale * solid.scale)**3


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
          'body': item.body.status, 'note': item.note}
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
    csv.writer(file, lineterminator='\n').writerow(columns)
    _write_rows(file, columns, table)


def append_csv(path, columns, table):
  """Adds rows to a CSV file of `write_csv`, all by one call, so that a kill leaves whole rows."""
  text = io.StringIO()
  _write_rows(text, columns, table)
  with open(path, 'ab', buffering=0) as file:
    file.write(text.getvalue().encode())


def _write_rows(file, columns, table):
  writer = csv.DictWriter(file, columns, lineterminator='\n')
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

"""Mesh files: GLB, OBJ, PLY, STL and MJCF (MuJoCo XML) read and written, GLTF and OFF read.

Frames: a Mesh is +z up. glTF is y-up by its standard, (x, y, z) -> (x, z, -y) on the way out and
the inverse rotation on the way in; the others stay z-up. Colours: a Mesh holds sRGB; glTF's COLOR_0
is linear light by its standard; OBJ, PLY and MJCF hold sRGB as is; STL and OFF hold none here.

Files are untrusted: of the files that a file refers to only the buffers of glTF and the includes
and meshes of MJCF are opened, below its own folder; sizes that it claims are checked against its
bytes; any fault of a file becomes one MeshError. The formats are read by `export.glb`,
`export.mjcf` and `export.polygons`.
"""

import codecs
import contextlib
import pathlib
import re
from typing import NamedTuple
import warnings

import numpy as np
import trimesh

from jax3dgen.core import files, image
from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import glb, gltf_data
from jax3dgen.export.mjcf import reader as mjcf
from jax3dgen.export.mjcf import text as mjcf_text
from jax3dgen.export.mjcf import writer as mjcf_writer
from jax3dgen.export.polygons import obj, off, ply, stl
from jax3dgen.physics import surface as surfaces
from jax3dgen.scene import mesh as meshes

Y_UP = ('glb', 'gltf')
Y_TO_Z = np.array([(1, 0, 0), (0, 0, -1), (0, 1, 0)], np.float32)  # the turn of a file with y up
POLYGONS = {'obj': obj.read, 'off': off.read, 'ply': ply.read, 'stl': stl.read}
READABLE = (*Y_UP, *POLYGONS, 'xml')
MAX_BYTES = 2**29  # of a file
HEAD = 2**12  # bytes of a file that tell what it is
ROBOT = rb'<robot\b'
MAX_SIZE = 1e38  # of coordinates: their cubes are still numbers
MAX_ELEMENTS = 10**7  # vertices or faces of one mesh, all instances counted


class Solid(NamedTuple):
  """One rigid solid of a file: its `name` in it ('' for the only one) and its Mesh.

  `body` (points [K, 3] whose hull touches the ground, mass [], center [3], inertia [3, 3] about it)
  is what an MJCF file says of it, in the frame and units of the mesh; None in other formats.
  `files` are those that were opened besides.
  """
  name: str
  mesh: Mesh
  body: tuple | None = None
  files: tuple = ()


def read(path, up='auto'):
  """The Mesh of a file (+z up, host arrays); the parts of a scene are merged in their places.

  Vertices are float64, which a shape far from the origin needs.

  `up` is the axis that is up in the file: 'y', 'z', or 'auto' (y for GLB and GLTF, z otherwise).
  `colors` [V, 3] (sRGB) is None where the file has no colours of vertices or faces; `notes` say
  what of the file is ignored.
  Raises MeshError for a file that is missing, invalid, too large or of another format.
  """
  with _faults(path, up) as (path, kind):
    notes, parts = _parts(_bytes(path), kind, path.parent)
    return _turned(_merge(parts), kind, up, notes)


def read_solids(path, up='auto'):
  """[Solid] of a file, with the errors of `read`: the bodies of an MJCF file, one of any other."""
  with _faults(path, up) as (path, kind):
    data = _bytes(path)
    if kind != 'xml':
      notes, parts = _parts(data, kind, path.parent)
      mesh = _turned(_merge(parts), kind, up, notes)
      return [Solid('', mesh, files=gltf_data.files(data, path.parent) if kind in Y_UP else ())]
    bodies, others = mjcf.solids(data, path.parent, MAX_ELEMENTS)
    turn = Y_TO_Z if up == 'y' else np.eye(3)
    return [Solid(solid.name, _turned(_merge(solid.parts), kind, up, solid.notes),
                  (solid.contact @ turn.T, solid.mass, turn @ solid.center,
                   turn @ solid.inertia @ turn.T), others) for solid in bodies]


def write(path, mesh, texture=None):
  """Writes a Mesh in the format of the suffix of `path`, GLB with a `scene.texture.Texture`; an
  error leaves no partial file.

  Numbers are float32, or float64 for a mesh far from the origin. Raises MeshError for an empty or
  non-finite mesh, for a format that is not written, and for STL of a mesh far from the origin.
  """
  path = pathlib.Path(path)
  kind = path.suffix[1:].lower()
  if kind not in WRITERS:
    raise MeshError(f'{path}: a mesh is written to {", ".join(WRITERS)} files.')
  vertices, faces = meshes.checked(mesh)
  colors = None if mesh.colors is None else np.clip(np.asarray(mesh.colors, np.float32), 0, 1)
  mesh = Mesh(vertices, faces.astype(np.int32), colors)
  far = meshes.near_origin(mesh)[1].any()
  if far and kind == 'stl':
    raise MeshError(f'{path}: the mesh is too far from the origin for the 32-bit numbers of STL.')
  if texture and kind != 'glb':
    raise MeshError(f'{path}: a texture is written to glb files.')
  mesh = mesh if far else mesh.replace(vertices=vertices.astype(np.float32))
  data = glb.encode(mesh, texture) if texture else WRITERS[kind](mesh)
  with files.replacing(path) as beside:
    beside.write_bytes(data)


@contextlib.contextmanager
def _faults(path, up):
  """Yields a path and its format; any error in the block becomes a MeshError that names it."""
  path = pathlib.Path(path)
  name = str(path).encode(errors='replace').decode()
  kind = path.suffix[1:].lower()
  if up not in ('auto', 'y', 'z'):
    raise ConfigError(f"up is 'auto', 'y' or 'z', not {up!r}.")
  try:
    if kind not in READABLE:
      _refuse_robot(path)
      raise MeshError(f'a mesh is read from {", ".join(READABLE)} files.')
    with warnings.catch_warnings(), np.errstate(all='ignore'):
      warnings.simplefilter('ignore')
      yield path, kind
  except OSError as error:
    raise MeshError(f'{name}: {error.strerror or error}.') from error
  except MeshError as error:
    raise MeshError(f'{name}: {error}') from error
  except MemoryError as error:
    raise MeshError(f'{name}: there is not enough memory for this mesh.') from error
  except Exception as error:  # parsers of damaged files may raise any error
    raise MeshError(f'{name}: this is no valid {kind.upper()} file, or it is damaged.') from error


def _turned(mesh, kind, up, notes):
  """The checked Mesh of a file without unused vertices, +z up, with sRGB colours."""
  vertices, faces = meshes.checked(mesh)
  corners = vertices[faces].reshape(-1, 3)
  if np.abs(corners).max() > MAX_SIZE or 0 < np.ptp(corners, 0).max() < 1 / MAX_SIZE:
    raise MeshError(f'the mesh has coordinates beyond {MAX_SIZE}, or all within 1 / {MAX_SIZE}.')
  index, faces = surfaces.compact(faces, len(vertices))
  vertices = vertices[index]
  colors = None if mesh.colors is None else mesh.colors[index].astype(np.float32)
  if kind in Y_UP if up == 'auto' else up == 'y':
    vertices = vertices[:, (0, 2, 1)] * (1, -1, 1)
  if kind in Y_UP and colors is not None:
    colors = image.linear_to_srgb(colors)
  return Mesh(vertices, faces.astype(np.int32), colors, tuple(notes))


def _bytes(path):
  if not path.exists():
    raise MeshError('there is no such file.')
  if not path.is_file():
    raise MeshError('this is not a file.')
  if path.stat().st_size > MAX_BYTES:
    raise MeshError(f'the file is larger than {MAX_BYTES >> 20} MB.')
  data = path.read_bytes()
  _refuse_other(data)
  return data


def _refuse_robot(path):
  """MeshError for a URDF file of any suffix."""
  if path.is_file():
    with open(path, 'rb') as file:
      if re.match(ROBOT, _start(file.read(HEAD))):
        raise MeshError(mjcf_text.URDF)


def _start(data):
  """The first bytes of a file in lower case, without the comments of XML."""
  return re.sub(rb'(?s)\A\s*(<\?.*?\?>\s*|<!--.*?-->\s*)*', b'',
                data[:HEAD].removeprefix(codecs.BOM_UTF8)).lower()


def _refuse_other(data):
  """MeshError for a file that is no mesh under any name: says what it is."""
  start = _start(data)
  reasons = (
      (not data, 'the file is empty.'),
      (start.startswith(b'version https://git-lfs'),
       'this is a Git LFS pointer instead of the file itself; run `git lfs pull`.'),
      (re.match(rb'(<!doctype )?<?html\b|<head\b', start),
       'this is an HTML page, as a failed download leaves it.'),
      (not data.strip(b'\0'),
       'the file holds nothing but zeros, as an interrupted copy leaves it.'),
      (ply.is_splat(data), 'this is a Gaussian splat: points without faces.'),
      (re.match(ROBOT, start), mjcf_text.URDF))
  for applies, reason in reasons:
    if applies:
      raise MeshError(reason)


def _parts(data, kind, folder):
  """(notes, parts): what is ignored, and an iterable of (vertices, faces, colours or None) in the
  file's own frame."""
  if kind in Y_UP:
    return glb.parts(data, MAX_ELEMENTS, folder)
  if kind == 'xml':
    bodies, _ = mjcf.solids(data, folder, MAX_ELEMENTS)
    notes = dict.fromkeys(note for solid in bodies for note in solid.notes)
    return ([*notes, 'masses are not read'],
            [part for solid in bodies for part in solid.parts])
  return (), [POLYGONS[kind](data, MAX_ELEMENTS)]


def _merge(parts):
  """All triangles as one unchecked Mesh; parts without colours are white among coloured ones."""
  vertices, faces, colors = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], []
  count = total = 0
  for part_vertices, part_faces, part_colors in parts:
    faces.append(part_faces + count)
    vertices.append(np.asarray(part_vertices, np.float64))
    colors.append(part_colors)
    count, total = count + len(part_vertices), total + len(part_faces)
    if max(count, total) > MAX_ELEMENTS:
      raise MeshError(f'the file places more than {MAX_ELEMENTS} vertices or faces.')
  mesh = Mesh(np.concatenate(vertices), np.concatenate(faces))
  if all(part is None for part in colors):
    return mesh
  colors = [np.ones_like(part_vertices) if part is None else part
            for part, part_vertices in zip(colors, vertices[1:])]
  return mesh.replace(colors=np.clip(np.nan_to_num(np.concatenate(colors)), 0, 1))


def _stl(mesh):
  return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file_type='stl')


WRITERS = {'glb': glb.encode, 'obj': obj.encode, 'ply': ply.encode, 'stl': _stl,
           'xml': mjcf_writer.encode}

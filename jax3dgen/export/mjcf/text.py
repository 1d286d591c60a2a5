"""The XML of an MJCF file, made whole and safe for MuJoCo to compile.

`whole` replaces every <include> by the file's elements and every mesh file by its triangles. Only
files below the folder of the MJCF file are opened, and none of them by MuJoCo. Elements without a
part in shapes, frames and masses are removed.
"""

import codecs
import pathlib
import re
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from jax3dgen.core import paths
from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export.polygons import obj, stl
from jax3dgen.physics import surface
from jax3dgen.scene import mesh as scene_mesh

MAX_BYTES = 2**27  # of all files together
MAX_TAGS = 2**18
MOST = {'geom': 10**4, 'body': 10**4, 'joint': 10**3}  # MuJoCo takes minutes beyond
MAX_BUILTIN = 100.0  # parameters of a built-in mesh; MuJoCo takes minutes beyond
UNSUPPORTED = {'attach', 'composite', 'extension', 'flex', 'flexcomp', 'model', 'plugin',
               'replicate'}
KEPT = {'compiler', 'option', 'flag', 'default', 'asset', 'mesh', 'worldbody', 'body', 'frame',
        'geom', 'inertial', 'joint', 'freejoint', 'contact', 'pair', 'exclude'}
LEFT_OUT = {'actuator', 'equality', 'tendon'}  # that would change how a body moves
REFERENCES = {'compiler': ('meshdir', 'texturedir', 'assetdir', 'strippath'),
              'mesh': ('material', 'content_type'), 'geom': ('material',)}
URDF = 'this is a URDF robot, which is not read; MJCF is.'


class Whole(NamedTuple):
  """text: MJCF that refers to no file; meshes: {name: (vertices [V, 3], faces [F, 3])} of those
  that it does not hold; notes: what was left out; files: all that were opened besides."""
  text: str
  meshes: dict
  notes: list
  files: tuple


def whole(data, folder, most):
  """The `Whole` of an MJCF file's bytes; its meshes have at most `most` vertices and faces.

  Raises MeshError for what is not read.
  """
  files = {}
  root = _parse(data)
  _include(root, folder, files)
  elements = list(root.iter())
  if len(elements) > MAX_TAGS:
    raise MeshError(f'the file has more than {MAX_TAGS} tags.')
  for element in elements:
    if element.tag in UNSUPPORTED:
      raise MeshError(f'the file uses <{element.tag}>, which is not read.')
  for name, limit in MOST.items():
    if sum(element.tag.endswith(name) for element in elements) > limit:
      raise MeshError(f'the file has more than {limit} elements <{name}>.')
  notes = [f'{e.tag} elements are left out' for e in root if e.tag in LEFT_OUT and len(e)]
  meshes = _meshes(root, folder, files, most)
  for element in elements:
    element[:] = [child for child in element if child.tag in KEPT]
    for name in REFERENCES.get(element.tag, ()):
      element.attrib.pop(name, None)
  notes += _hfields(root)
  if any(scene_mesh.near_origin(Mesh(*mesh))[1].any() for mesh in meshes.values() if len(mesh[0])):
    notes.append('a mesh far from its origin has the 32-bit numbers of MuJoCo')
  notes += ['maxhullvert left out'] * any('maxhullvert' in e.attrib for e in root.iter('mesh'))
  _wrap(root)
  return Whole(ElementTree.tostring(root, encoding='unicode'), meshes, list(dict.fromkeys(notes)),
               tuple(files))


def _parse(data):
  """The root of an XML file; its encoding is that of a byte order mark or of its declaration, else
  UTF-8 or Latin-1."""
  if len(data) > MAX_BYTES or data.count(b'<') > MAX_TAGS:
    raise MeshError(f'the file has more than {MAX_BYTES >> 20} MB or {MAX_TAGS} tags.')
  text = _decoded(data)
  if '<!ENTITY' in text:
    raise MeshError('the file defines entities, which are not read.')
  try:
    root = ElementTree.fromstring(text)
  except ElementTree.ParseError as error:
    raise MeshError(f'this is no valid XML file ({error}).') from error
  if root.tag == 'robot':
    raise MeshError(URDF)
  return root


def _decoded(data):
  declared = re.match(rb'(?:\xef\xbb\xbf)?\s*<\?xml[^>]*encoding=["\']([\w.-]+)["\']', data)
  if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
    names = ['utf-16']
  else:
    names = ['utf-8-sig', *([declared[1].decode()] if declared else []), 'latin-1']
  for name in names:
    try:
      return data.decode(name)
    except (UnicodeError, LookupError):
      continue
  raise MeshError('the text of the file is damaged.')


def _include(root, folder, files):
  """Replaces the <include> elements below `root`; like MuJoCo, it includes a file only once, and
  names are relative to the first file."""
  if root.tag == 'include':
    raise MeshError('this is no MJCF file.')
  for parent in root.iter():  # which visits the new children as well
    while any(child.tag == 'include' for child in parent):
      k, child = next((k, c) for k, c in enumerate(parent) if c.tag == 'include')
      name = child.get('file', '').replace('\\', '/')
      path = paths.beside(folder, name)
      if path in files:
        raise MeshError(f'{name} is included twice, which MuJoCo does not read.')
      parent[k:k + 1] = list(_parse(_opened(path, files)))


def _opened(path, files):
  """The bytes of a file; adds it to `files`, {path: bytes read}."""
  files[path] = files.get(path, 0) + path.stat().st_size
  if sum(files.values()) > MAX_BYTES:
    raise MeshError(f'the file refers to more than {MAX_BYTES >> 20} MB.')
  return path.read_bytes()


def _meshes(root, folder, files, most):
  """The triangles of the mesh files, whose elements become empty."""
  directory, strip, result = '', False, {}
  for compiler in root.iter('compiler'):
    directory = compiler.get('meshdir', compiler.get('assetdir', directory))
    strip = compiler.get('strippath', 'true' if strip else 'false') == 'true'
  for element in root.iter('mesh'):
    numbers = element.get('params', '').split()
    try:
      if any(not abs(float(number)) <= MAX_BUILTIN for number in numbers):
        raise MeshError(f'a built-in mesh has a parameter beyond {MAX_BUILTIN:g}.')
    except ValueError:
      raise MeshError('a built-in mesh has a parameter that is no number.') from None
    name = element.attrib.pop('file', None)
    if name is None:
      continue
    name = pathlib.PurePosixPath(name.replace('\\', '/'))
    element.attrib.setdefault('name', name.stem)
    where = pathlib.PurePosixPath(directory.replace('\\', '/'), name.name if strip else name)
    path = paths.beside(folder, str(where))
    for key in ('vertex', 'face', 'normal', 'texcoord', 'builtin', 'params'):
      element.attrib.pop(key, None)
    try:
      result[element.get('name')] = _triangles(_opened(path, files), path, most)
    except MeshError as error:
      raise MeshError(f'{where}: {error}') from error
  return result


def _triangles(data, path, most):
  """Vertices and faces of an OBJ, STL or MSH file, the formats of MuJoCo."""
  kind = path.suffix[1:].lower()
  if kind == 'msh':
    return _msh(data)
  if kind not in ('obj', 'stl'):
    raise MeshError('a mesh of an MJCF file is an OBJ, STL or MSH file.')
  vertices, faces, _ = {'obj': obj, 'stl': stl}[kind].read(data, most)
  first, place = surface.distinct(vertices) if kind == 'stl' else (slice(None), None)
  return vertices[first], faces if place is None else place[faces]


def _msh(data):
  """MuJoCo's own binary format: four counts, then vertices, normals, texture points and faces."""
  count = np.frombuffer(data[:16], '<i4').astype(np.int64)
  if len(count) < 4 or (count < 0).any() or len(data) != 16 + 4 * count @ (3, 3, 2, 3):
    raise MeshError('this is no valid MSH file.')
  vertices = np.frombuffer(data, '<f4', 3 * count[0], 16).reshape(-1, 3)
  faces = np.frombuffer(data, '<i4', 3 * count[3], len(data) - 12 * count[3]).reshape(-1, 3)
  return vertices.astype(np.float64), faces.astype(np.int64)


def _hfields(root):
  """Removes the geoms of height fields, which MuJoCo has only as a part of the world."""
  geoms = [(parent, child) for parent in root.iter() for child in parent
           if child.tag == 'geom' and (child.get('type') == 'hfield' or child.get('hfield'))]
  for parent, child in geoms:
    parent.remove(child)
  return ['height fields are left out'] if geoms else []


def _wrap(root):
  """Makes one body of a file whose geoms all belong to the world."""
  worlds = list(root.iter('worldbody'))
  if not worlds or any(next(body.iter('geom'), None) is not None for body in root.iter('body')):
    return
  body = ElementTree.Element('body')
  for world in worlds:
    body.extend(list(world))
    world[:] = []
  worlds[0].append(body)

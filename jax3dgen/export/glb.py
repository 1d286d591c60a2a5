"""glTF 2, as GLB or as text: triangles, vertex colours and where a scene places them.

In the file +y is up and colours are linear light. No other file is opened, sizes that the header
claims are checked against the bytes, and textures, materials and animations are ignored.
"""

import base64
import json
import struct

import jax
import numpy as np

from jax3dgen.core import image
from jax3dgen.core.errors import MeshError
from jax3dgen.scene import mesh as meshes

MAGIC, JSON, BINARY = b'glTF', b'JSON', b'BIN\0'
DTYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32,
          5126: np.float32}
CODES = {np.dtype(dtype): code for code, dtype in DTYPES.items()}
WIDTHS = {'SCALAR': 1, 'VEC2': 2, 'VEC3': 3, 'VEC4': 4}
TRIANGLES, STRIP, FAN = 4, 5, 6
HARMLESS = ('KHR_materials_', 'KHR_texture_', 'KHR_lights_', 'EXT_texture_',
            'KHR_mesh_quantization')
MAX_ITEMS = 2**21  # of a header
MAX_PARTS = 10**5  # primitives of a scene, all instances counted


def encode(mesh):
  """GLB bytes of a host Mesh (+z up): positions, normals, 16-bit colours and a matte material."""
  position = _y_up(mesh.vertices)
  normal = _y_up(np.asarray(jax.jit(meshes.normals)(mesh.vertices, mesh.faces)))
  arrays = {'POSITION': position, 'NORMAL': normal}
  if mesh.colors is not None:
    rgba = np.pad(image.srgb_to_linear(mesh.colors), ((0, 0), (0, 1)), constant_values=1)
    arrays['COLOR_0'] = np.round(rgba * 65535).astype(np.uint16)
  attributes = {name: index for index, name in enumerate(arrays)}
  arrays['indices'] = mesh.faces.astype(np.uint32).reshape(-1, 1)
  accessors, views, blob = [], [], b''
  kinds = {width: kind for kind, width in WIDTHS.items()}
  for name, array in arrays.items():
    accessors.append({'bufferView': len(views), 'componentType': CODES[array.dtype],
                      'count': len(array), 'type': kinds[array.shape[1]]})
    views.append({'buffer': 0, 'byteOffset': len(blob), 'byteLength': array.nbytes,
                  'target': 34963 if name == 'indices' else 34962})
    blob += array.tobytes()
  accessors[0] |= {'min': position.min(0).tolist(), 'max': position.max(0).tolist()}
  if 'COLOR_0' in attributes:
    accessors[attributes['COLOR_0']]['normalized'] = True
  primitive = {'attributes': attributes, 'indices': len(attributes), 'material': 0}
  header = {
      'asset': {'version': '2.0', 'generator': 'jax3dgen'}, 'scene': 0,
      'scenes': [{'nodes': [0]}], 'nodes': [{'mesh': 0}], 'meshes': [{'primitives': [primitive]}],
      'materials': [{'pbrMetallicRoughness': {'metallicFactor': 0.0, 'roughnessFactor': 0.9}}],
      'accessors': accessors, 'bufferViews': views, 'buffers': [{'byteLength': len(blob)}]}
  text = json.dumps(header, separators=(',', ':')).encode()
  text += b' ' * (-len(text) % 4)
  return b''.join([
      struct.pack('<4sII', MAGIC, 2, 28 + len(text) + len(blob)),
      struct.pack('<I4s', len(text), JSON), text, struct.pack('<I4s', len(blob), BINARY), blob])


def parts(data, limit):
  """Yields (vertices [V, 3], faces [F, 3], linear colours [V, 3] or None) of each primitive.

  `data` is a GLB file, or a glTF file whose buffers are data: URIs. Coordinates are those of the
  file's scene (y-up). Raises MeshError for features that are not read and for a primitive of more
  than `limit` vertices or 3 x `limit` corners; a damaged file may raise any error.
  """
  header, blob = _chunks(data) if data[:4] == MAGIC else (_header(data), None)
  required = [name for name in header.get('extensionsRequired', ())
              if not name.startswith(HARMLESS)]
  if required:
    raise MeshError(f'the file needs the glTF extension {", ".join(required)}, which is not read.')
  header['buffers'] = [_buffer(entry, blob if index == 0 else None)
                       for index, entry in enumerate(header['buffers'])]
  count = 0
  for index, matrix in _mesh_nodes(header):
    mirrored = np.linalg.det(matrix[:3, :3]) < 0
    for primitive in header['meshes'][index]['primitives']:
      count += 1
      if count > MAX_PARTS:
        raise MeshError(f'the file places more than {MAX_PARTS} parts.')
      mode = primitive.get('mode', TRIANGLES)
      if mode not in (TRIANGLES, STRIP, FAN):
        continue
      vertices = _accessor(header, primitive['attributes']['POSITION'], limit).astype(np.float64)
      order = (np.arange(len(vertices)) if 'indices' not in primitive else
               _accessor(header, primitive['indices'], 3 * limit)[:, 0].astype(np.int64))
      if order.max() >= len(vertices):
        raise MeshError('a face names a vertex that is not there.')
      faces = _triangles(order, mode)
      colors = None
      if 'COLOR_0' in primitive['attributes']:
        colors = _accessor(header, primitive['attributes']['COLOR_0'], limit)[:, :3]
        if len(colors) != len(vertices):
          raise MeshError('the file has not one colour for each vertex.')
      # Not `@`: threads of a BLAS cost more than they bring on arrays this narrow.
      points = np.einsum('vj,ij->vi', vertices, matrix[:3, :3]) + matrix[:3, 3]
      yield points, faces[:, ::-1] if mirrored else faces, colors


def _y_up(xyz):
  return (xyz[:, (0, 2, 1)] * (1, 1, -1)).astype(np.float32)


def _header(text):
  """The dict that the JSON of a file holds, if its size is sane and its version understood."""
  if text.count(b',') + text.count(b'{') + text.count(b'[') > MAX_ITEMS:
    raise MeshError(f'the header of the file has more than {MAX_ITEMS} items.')
  header = json.loads(text)
  if header['asset']['version'][0] != '2':
    raise MeshError('this is no glTF 2 file.')
  return header


def _buffer(entry, blob):
  """The bytes of a buffer, or None if they are in another file."""
  uri = entry.get('uri')
  if uri is None:
    return blob
  kind, _, text = uri.partition(',')
  if not (kind.startswith('data:') and kind.endswith(';base64')):
    return None
  return base64.b64decode(text, validate=True)


def _chunks(data):
  """The header (a dict) and the binary chunk of a GLB file, None where it has none."""
  magic, version, total, length, kind = struct.unpack_from('<4sIII4s', data)
  if magic != MAGIC or version != 2 or kind != JSON:
    raise MeshError('this is no GLB file of glTF 2.')
  start = 20 + length
  if start == total == len(data):
    return _header(data[20:]), None
  size, kind = struct.unpack_from('<I4s', data, start)
  if kind != BINARY or start + 8 + size > len(data):
    raise MeshError('the file is truncated.')
  return _header(data[20:start]), data[start + 8:start + 8 + size]


def _accessor(header, index, limit):
  """The array [count, width] of an accessor; normalised integers as floats."""
  accessor = header['accessors'][index]
  if 'bufferView' not in accessor or 'sparse' in accessor:
    raise MeshError('the file has compressed or sparse geometry, which is not read.')
  view = header['bufferViews'][accessor['bufferView']]
  blob = header['buffers'][view['buffer']]
  if blob is None:
    raise MeshError('the file keeps its triangles outside itself; nothing else is opened.')
  dtype = np.dtype(DTYPES[accessor['componentType']])
  count, width = accessor['count'], WIDTHS[accessor['type']]
  start, size, offset = view.get('byteOffset', 0), view['byteLength'], accessor.get('byteOffset', 0)
  item = width * dtype.itemsize
  stride = view.get('byteStride', item)
  if not (count > 0 and start >= 0 and offset >= 0 and stride >= item and start + size <= len(blob)
          and offset + (count - 1) * stride + item <= size):
    raise MeshError('the file claims data that it does not have.')
  if count > limit:
    raise MeshError(f'the file has more than {limit} vertices or corners in one part.')
  array = np.ndarray((count, width), dtype, blob, start + offset, (stride, dtype.itemsize))
  if accessor.get('normalized'):
    return np.maximum(array.astype(np.float32) / np.iinfo(dtype).max, -1.0)
  return array


def _mesh_nodes(header):
  """[(mesh index, matrix [4, 4] into the scene)] of the nodes that have a mesh."""
  if 'scenes' not in header:
    return [(index, np.eye(4)) for index in range(len(header['meshes']))]
  nodes, tree, instances = header['nodes'], set(), []
  roots = header['scenes'][header.get('scene', 0)].get('nodes', [])
  stack = [(index, np.eye(4)) for index in roots]
  while stack:
    index, outer = stack.pop()
    if index in tree:
      raise MeshError('the nodes of the scene are no tree.')
    tree.add(index)
    node = nodes[index]
    matrix = outer @ _local(node)
    if 'mesh' in node:
      instances.append((node['mesh'], matrix))
    stack += [(child, matrix) for child in node.get('children', ())]
  return instances


def _local(node):
  """The matrix [4, 4] of a node into its parent: given as such, or as translation x rotation
  (quaternion x, y, z, w) x scale."""
  if 'matrix' in node:
    return np.array(node['matrix'], np.float64).reshape(4, 4).T
  x, y, z, w = node.get('rotation', (0, 0, 0, 1))
  matrix = np.eye(4)
  matrix[:3, :3] = np.array([
      (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
      (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
      (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y))])
  matrix[:3, :3] *= np.array(node.get('scale', (1, 1, 1)), np.float64)
  matrix[:3, 3] = node.get('translation', (0, 0, 0))
  return matrix


def _triangles(order, mode):
  """Faces [F, 3] from the vertex order of a list, strip or fan of triangles."""
  if mode == TRIANGLES:
    return order[:len(order) // 3 * 3].reshape(-1, 3)
  first = np.full(max(len(order) - 2, 0), order[0]) if mode == FAN else order[:-2]
  faces = np.stack([first, order[1:-1], order[2:]], -1)
  if mode == STRIP:
    faces[1::2] = faces[1::2, (1, 0, 2)]
  return faces

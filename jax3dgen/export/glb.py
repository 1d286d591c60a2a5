"""glTF 2, as GLB or as text: triangles, vertex colours and where a scene places them.

In the file +y is up and colours are linear light. `gltf_data` reads the arrays and `gltf_nodes`
the scene; textures and materials are ignored.
"""

import io
import itertools
import json
import struct

import jax
import numpy as np
from PIL import Image

from jax3dgen.core import image
from jax3dgen.core.errors import MeshError
from jax3dgen.export import gltf_data, gltf_nodes
from jax3dgen.export.gltf_data import array, get, item, many, numbers
from jax3dgen.scene import mesh as meshes

CODES = {np.dtype(dtype): code for code, dtype in gltf_data.DTYPES.items()}
TRIANGLES, STRIP, FAN = 4, 5, 6
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071  # of a sampler
MAX_PARTS = 10**5  # primitives of a scene, all instances counted
MAX_LAYERS = 256  # attributes of a primitive, and morph targets whose weight is not 0


def encode(mesh, texture=None):
  """GLB bytes of a host Mesh (+z up): positions, normals, a matte material, and 16-bit vertex
  colours, or in place of them a `scene.texture.Texture` of the mesh as a PNG.

  A mesh far from the origin is placed there by its node.
  """
  mesh, offset = meshes.near_origin(mesh)
  node = {'mesh': 0} | ({'translation': _turned(offset).tolist()} if offset.any() else {})
  source = texture.atlas.source if texture else slice(None)
  position = _y_up(mesh.vertices)[source]
  normal = _y_up(np.asarray(jax.jit(meshes.normals)(mesh.vertices, mesh.faces)))[source]
  arrays = {'POSITION': position, 'NORMAL': normal}
  material, files = {'metallicFactor': 0.0, 'roughnessFactor': 0.9}, {}
  if texture:
    arrays['TEXCOORD_0'] = texture.atlas.uv.astype(np.float32)
    material['baseColorTexture'] = {'index': 0}
    files = {'textures': [{'source': 0, 'sampler': 0}],
             'samplers': [{'magFilter': LINEAR, 'minFilter': LINEAR_MIPMAP_LINEAR,
                           'wrapS': CLAMP_TO_EDGE, 'wrapT': CLAMP_TO_EDGE}]}
  elif mesh.colors is not None:
    rgba = np.pad(image.srgb_to_linear(mesh.colors), ((0, 0), (0, 1)), constant_values=1)
    arrays['COLOR_0'] = np.round(rgba * 65535).astype(np.uint16)
  attributes = {name: index for index, name in enumerate(arrays)}
  faces = texture.atlas.faces if texture else mesh.faces
  arrays['indices'] = faces.astype(np.uint32).reshape(-1, 1)
  accessors, views, blob = [], [], b''
  kinds = {width: kind for kind, width in gltf_data.WIDTHS.items()}
  for name, values in arrays.items():
    accessors.append({'bufferView': len(views), 'componentType': CODES[values.dtype],
                      'count': len(values), 'type': kinds[values.shape[1]]})
    views.append({'buffer': 0, 'byteOffset': len(blob), 'byteLength': values.nbytes,
                  'target': 34963 if name == 'indices' else 34962})
    blob += values.tobytes()
  accessors[0] |= {'min': position.min(0).tolist(), 'max': position.max(0).tolist()}
  if 'COLOR_0' in attributes:
    accessors[attributes['COLOR_0']]['normalized'] = True
  if texture:
    picture = png(texture.image)
    files['images'] = [{'bufferView': len(views), 'mimeType': 'image/png'}]
    views.append({'buffer': 0, 'byteOffset': len(blob), 'byteLength': len(picture)})
    blob += picture + b'\0' * (-len(picture) % 4)
  primitive = {'attributes': attributes, 'indices': len(attributes), 'material': 0}
  header = {
      'asset': {'version': '2.0', 'generator': 'jax3dgen'}, 'scene': 0,
      'scenes': [{'nodes': [0]}], 'nodes': [node], 'meshes': [{'primitives': [primitive]}],
      'materials': [{'pbrMetallicRoughness': material}], **files,
      'accessors': accessors, 'bufferViews': views, 'buffers': [{'byteLength': len(blob)}]}
  text = json.dumps(header, separators=(',', ':')).encode()
  text += b' ' * (-len(text) % 4)
  return b''.join([
      struct.pack('<4sII', gltf_data.MAGIC, 2, 28 + len(text) + len(blob)),
      struct.pack('<I4s', len(text), gltf_data.JSON), text,
      struct.pack('<I4s', len(blob), gltf_data.BINARY), blob])


def png(picture):
  """PNG bytes of a picture [H, W, 3] in [0, 1]."""
  stream = io.BytesIO()
  Image.fromarray(image.to_uint8(picture)).save(stream, 'PNG')
  return stream.getvalue()


def parts(data, limit, folder):
  """(notes, parts) of a GLB or glTF file (bytes) that lies in `folder`.

  `parts` yields (vertices [V, 3] float64, faces [F, 3], linear colours [V, 3] or None) of each
  primitive of each instance, in the frame of the file's scene (y-up), with morph targets at their
  default weights and skins in their pose at rest; `notes` say what is ignored. Raises MeshError,
  as `parts` does: for what is not read, and for more than `limit` vertices or 3 x `limit` corners
  of a primitive.
  """
  document = gltf_data.document(data, folder)
  scene = gltf_nodes.scene(document.header)
  primitives, more = _primitives(document.header, scene)
  ignored = gltf_data.unknown(document.header, 'extensionsUsed')
  notes = [*scene.notes, *more, *[f'the extension {ignored} is ignored'] * bool(ignored)]
  notes = tuple(dict.fromkeys(notes))
  if not primitives:
    raise MeshError(f'the file has no triangles{": " * bool(notes)}{"; ".join(notes)}.')
  return notes, _parts(document, scene, primitives, limit)


def _primitives(header, scene):
  """([(node index, primitive)] of the triangles that are shown, notes on the others)."""
  primitives, notes, count = [], [], 0
  for index in scene.visible:
    for primitive in many(_mesh(header, scene.nodes[index]), 'primitives', dict):
      count += 1
      _bound(count)
      mode = get(primitive, 'mode', int, TRIANGLES)
      if mode > FAN:
        raise MeshError(f'a primitive of the file has the mode {mode}, which does not exist.')
      if mode < TRIANGLES:
        notes.append('points and lines are ignored')
      elif 'POSITION' not in get(primitive, 'attributes', dict):
        notes.append('triangles without positions are ignored')
      else:
        primitives.append((index, primitive))
        if mode == TRIANGLES and _corners(header, primitive) % 3:
          notes.append('corners that are left over from triangles are ignored')
  return primitives, notes


def _corners(header, primitive):
  accessor = get(primitive, 'indices', int, get(primitive['attributes'], 'POSITION', int))
  return get(item(header, 'accessors', accessor), 'count', int)


def _mesh(header, node):
  return item(header, 'meshes', get(node, 'mesh', int))


def _bound(count):
  if count > MAX_PARTS:
    raise MeshError(f'the file places more than {MAX_PARTS} parts.')


def _parts(document, scene, primitives, limit):
  count, skins = 0, {}
  for index, group in itertools.groupby(primitives, lambda pair: pair[0]):
    node = scene.nodes[index]
    matrices = gltf_nodes.placements(document, scene, index)
    skin = get(node, 'skin', int, None)
    if skin is not None and skin not in skins:
      skins[skin] = gltf_nodes.joints(document, scene, skin)
    for _, primitive in group:
      count += len(matrices)
      _bound(count)
      vertices, faces, colors = _primitive(document, node, primitive, skins.get(skin), limit)
      for matrix in matrices:
        # Not `@`: threads of a BLAS cost more than they bring on arrays this narrow.
        points = np.einsum('vj,ij->vi', vertices, matrix[:3, :3]) + matrix[:3, 3]
        mirrored = np.linalg.det(matrix[:3, :3]) < 0
        yield points, faces[:, ::-1] if mirrored else faces, colors


def _primitive(document, node, primitive, joints, limit):
  """(vertices [V, 3], faces [F, 3], colours or None) in the frame of the node, or of the scene
  where there are `joints` [J, 4, 4]."""
  attributes = primitive['attributes']
  extensions = get(primitive, 'extensions', dict, {})
  uses = attributes | {key: primitive[key] for key in ('indices',) if key in primitive}
  if extensions and not all('bufferView' in item(document.header, 'accessors', get(uses, key, int))
                            for key in uses):
    gltf_data.refuse_compressed(extensions)
  targets = _targets(document.header, node, primitive)
  if max(len(attributes), len(targets)) > MAX_LAYERS:
    raise MeshError(f'a primitive has more than {MAX_LAYERS} attributes or morph targets.')
  vertices = _attribute(document, attributes, 'POSITION', ('VEC3',), targets, limit)
  faces, colors = _faces(document, primitive, len(vertices), limit), None
  if 'COLOR_0' in attributes:
    colors = _attribute(document, attributes, 'COLOR_0', ('VEC3', 'VEC4'), targets, limit)[:, :3]
    if len(colors) != len(vertices):
      raise MeshError('the file has not one colour for each vertex.')
  if joints is None:
    return vertices, faces, colors
  mirrored = np.linalg.det(joints[:, :3, :3]).max() < 0
  return (_skin(document, attributes, vertices, joints), faces[:, ::-1] if mirrored else faces,
          colors)


def _targets(header, node, primitive):
  """[(morph target, weight)] whose weight is not 0: that of the node, else of its mesh."""
  targets = many(primitive, 'targets', dict)
  source = node if 'weights' in node else _mesh(header, node)
  weights = numbers(source, 'weights', len(targets), [0] * len(targets)) if targets else ()
  return [(target, weight) for target, weight in zip(targets, weights) if weight]


def _attribute(document, attributes, name, kinds, targets, limit):
  """[V, width] float64 of an attribute, with the displacements of the morph targets."""
  values = array(document, get(attributes, name, int), kinds, limit).astype(np.float64)
  for target, weight in targets:
    if name in target:
      delta = array(document, get(target, name, int), kinds, limit)
      if delta.shape != values.shape:
        raise MeshError('a morph target has not one displacement for each vertex.')
      values += weight * delta.astype(np.float64)
  return values


def _skin(document, attributes, vertices, joints):
  """Vertices [V, 3] in the scene: the mean of where the joints [J, 4, 4] take them, by weight."""
  result, total = np.zeros_like(vertices), np.zeros(len(vertices))
  sets = {key.partition('_')[2] for key in attributes if key.startswith(('JOINTS_', 'WEIGHTS_'))}
  for k in sorted(sets):
    index, weight = [array(document, get(attributes, f'{name}_{k}', int), ('VEC4',), len(vertices))
                     for name in ('JOINTS', 'WEIGHTS')]
    if index.dtype.kind != 'u' or index.shape != weight.shape or len(index) != len(vertices) or (
        index.max() >= len(joints) or weight.min() < 0):
      raise MeshError('a vertex of a skin has a joint that is not there, or a negative weight.')
    for joint, part in zip(index.T, weight.T.astype(np.float64)):
      total += part
      for i in range(3):
        result[:, i] += part * (
            np.einsum('vj,vj->v', joints[joint, i, :3], vertices) + joints[joint, i, 3])
  if not (total > 0).all():
    raise MeshError('a vertex of a skin follows no joint.')
  return result / total[:, None]


def _faces(document, primitive, count, limit):
  """Triangles [F, 3] of a primitive of `count` vertices."""
  order = np.arange(count)
  if 'indices' in primitive:
    order = array(document, get(primitive, 'indices', int), ('SCALAR',), 3 * limit)[:, 0]
    if order.dtype.kind != 'u':
      raise MeshError('the corners of the faces are no unsigned integers.')
  if order.max() >= count:
    raise MeshError(f'a face names vertex {order.max()}, which is not there.')
  return _triangles(order.astype(np.int64), get(primitive, 'mode', int, TRIANGLES))


def _turned(xyz):
  return xyz[..., (0, 2, 1)] * (1, 1, -1)


def _y_up(xyz):
  return _turned(xyz).astype(np.float32)


def _triangles(order, mode):
  """Faces [F, 3] from the vertex order of a list, strip or fan of triangles."""
  if mode == TRIANGLES:
    return order[:len(order) // 3 * 3].reshape(-1, 3)
  first = np.full(max(len(order) - 2, 0), order[0]) if mode == FAN else order[:-2]
  faces = np.stack([first, order[1:-1], order[2:]], -1)
  if mode == STRIP:
    faces[1::2] = faces[1::2, (1, 0, 2)]
  return faces

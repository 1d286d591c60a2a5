"""Small glTF files for tests: a lopsided, coloured solid in whole hundredths, and its encodings."""

import base64
import copy
import json
import struct

import numpy as np

CODES = {np.dtype(kind): code for kind, code in (
    ('i1', 5120), ('u1', 5121), ('i2', 5122), ('u2', 5123), ('u4', 5125), ('f4', 5126))}
KINDS = {1: 'SCALAR', 3: 'VEC3', 4: 'VEC4', 16: 'MAT4'}
# A box whose top is moved and smaller: no two axes and no mirror image are alike.
POINTS = np.array([(0, 0, 0), (60, 0, 0), (0, 90, 0), (60, 90, 0),
                   (10, 20, 100), (40, 20, 100), (10, 70, 110), (40, 50, 120)])
FACES = np.array([(0, 2, 1), (1, 2, 3), (4, 5, 6), (5, 7, 6), (0, 1, 4), (1, 5, 4),
                  (2, 6, 3), (3, 6, 7), (0, 4, 2), (2, 4, 6), (1, 3, 5), (3, 7, 5)])
COLORS = np.linspace(0, 255, 24).round().reshape(8, 3) / 255


def add(header, blob, values, **changes):
  """Appends an array to the buffer, with a view and an accessor; the accessor's index."""
  values = np.asarray(values)
  values = values.reshape(len(values), -1)
  blob += bytes(-len(blob) % 4)
  header['bufferViews'].append(
      {'buffer': 0, 'byteOffset': len(blob), 'byteLength': values.nbytes})
  blob += values.tobytes()
  header['accessors'].append({
      'bufferView': len(header['bufferViews']) - 1, 'componentType': CODES[values.dtype],
      'count': len(values), 'type': KINDS[values.shape[1]]} | changes)
  return len(header['accessors']) - 1


def solid(points=POINTS, faces=FACES):
  """(header, buffer) of the solid; the node scales it by 0.01."""
  header, blob = {
      'asset': {'version': '2.0'}, 'scene': 0, 'scenes': [{'nodes': [0]}],
      'nodes': [{'name': 'solid', 'mesh': 0, 'scale': [0.01] * 3}],
      'bufferViews': [], 'accessors': []}, bytearray()
  attributes = {'POSITION': add(header, blob, np.float32(points)),
                'COLOR_0': add(header, blob, np.float32(COLORS))}
  header['meshes'] = [{'primitives': [{
      'attributes': attributes, 'indices': add(header, blob, np.uint16(faces).ravel())}]}]
  return header, blob


def with_buffer(header, size, **entry):
  return copy.deepcopy(header) | {'buffers': [{'byteLength': size, **entry}]}


def uri(blob, kind='data:application/gltf-buffer;base64,'):
  return kind + base64.b64encode(blob).decode()


def gltf(header, blob, link=None):
  """Text with the buffer at `link`, inside the text by default."""
  link = uri(blob) if link is None else link
  return json.dumps(with_buffer(header, len(blob), uri=link)).encode()


def glb(header, blob, chunks=(), total=0):
  """GLB; `chunks` (kind, bytes) take the place of the binary chunk, `total` adds to its length."""
  text = header if isinstance(header, bytes) else json.dumps(
      header if 'buffers' in header else with_buffer(header, len(blob))).encode()
  text += b' ' * (-len(text) % 4)
  data = b''.join(struct.pack('<I4s', len(chunk), kind) + chunk for kind, chunk in (
      (b'JSON', text), *(chunks or [(b'BIN\0', bytes(blob) + bytes(-len(blob) % 4))])))
  return struct.pack('<4sII', b'glTF', 2, 12 + len(data) + total) + data


def change(edit, encode=glb):
  header, blob = solid()
  edit(header, blob)
  return encode(header, blob)


def primitive(header):
  return header['meshes'][0]['primitives'][0]


def skin(joints, weights, count=1, nodes=(), inverse=None, sets=1):
  """The solid as a skin of the nodes 1.. ; its own node is moved, without effect.

  joints, weights: [4] of each vertex, or [8, 4]; inverse: the inverse bind matrix of all joints.
  """
  def edit(header, blob):
    attributes = primitive(header)['attributes']
    for k in range(sets):
      attributes[f'JOINTS_{k}'] = add(header, blob, np.broadcast_to(joints, (8, 4)))
      attributes[f'WEIGHTS_{k}'] = add(
          header, blob, np.broadcast_to(weights, (8, 4)), normalized=weights.dtype != 'f4')
    skin = {'joints': [*range(1, 1 + count)]}
    if inverse is not None:
      skin['inverseBindMatrices'] = add(header, blob, np.float32([inverse.T.ravel()] * count))
    header['nodes'] = [{'mesh': 0, 'skin': 0, 'translation': [7, 8, 9], 'scale': [3, 1, -1]},
                       *(nodes or [{'scale': [0.01] * 3}] * count)]
    header['skins'], header['scenes'] = [skin], [{'nodes': [*range(1 + count)]}]
  return change(edit)


def instances(node, **attributes):
  def edit(header, blob):
    header['nodes'] = [{'mesh': 0} | node | {'extensions': {'EXT_mesh_gpu_instancing': {
        'attributes': {name: add(header, blob, values, normalized=values.dtype != 'f4')
                       for name, values in attributes.items()}}}}]
    header['extensionsRequired'] = header['extensionsUsed'] = ['EXT_mesh_gpu_instancing']
  return change(edit)


def morphs(weights, node=None, deltas=(1.0,), base=True):
  """Targets that move the solid by `deltas` times (3, -2, 5) and its colours; `base` before."""
  def edit(header, blob):
    step, tint = np.float32([(3, -2, 5)] * 8), np.float32([(0.25, 0, 0.5)] * 8)
    total = float(np.dot(node or weights or [0.0], deltas))
    attributes = primitive(header)['attributes']
    if base:
      attributes['POSITION'] = add(header, blob, np.float32(POINTS - total * step))
      attributes['COLOR_0'] = add(header, blob, np.float32(COLORS - total * tint))
    primitive(header)['targets'] = [
        {'POSITION': add(header, blob, np.float32(delta * step)),
         'COLOR_0': add(header, blob, np.float32(delta * tint))} for delta in deltas]
    if weights is not None:
      header['meshes'][0]['weights'] = weights
    if node is not None:
      header['nodes'][0]['weights'] = node
  return change(edit)


def figures(mesh):
  """[volume, centre of mass times 3, mean colour of the surface times 3], by signed tetrahedra."""
  a, b, c = np.moveaxis(np.asarray(mesh.vertices, np.float64)[mesh.faces], 1, 0)
  volumes = np.einsum('fi,fi->f', a, np.cross(b, c)) / 6
  center = (volumes[:, None] * (a + b + c) / 4).sum(0) / volumes.sum()
  area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
  color = np.ones(3) if mesh.colors is None else (
      (area[:, None] * mesh.colors[mesh.faces].mean(1)).sum(0) / area.sum())
  return np.array([volumes.sum(), *center, *color])

"""glTF files that say the same in other words: the volume, centre and colours are the same."""

import base64
import json
import re
import urllib.parse

import numpy as np
import pytest

from jax3dgen.export import mesh_io
from tests.export import gltf_files as files
from tests.export.gltf_files import (
  COLORS,
  FACES,
  POINTS,
  add,
  change,
  glb,
  gltf,
  primitive,
  solid,
)

PLACES = np.float32(POINTS)
# Each face between faces without area, at an odd place, where a strip turns it.
STRIP = np.ravel([(a, a, c, b, b, b) for a, b, c in FACES])


def everywhere(value, change):
  """A copy of JSON with `change` made to every object."""
  if isinstance(value, dict):
    return change({key: everywhere(child, change) for key, child in value.items()})
  return [everywhere(child, change) for child in value] if isinstance(value, list) else value


def header_text(change=lambda entry: entry, **options):
  header, blob = solid()
  header = files.with_buffer(header, len(blob))
  return glb(json.dumps(everywhere(header, change), **options).encode(), blob)


def with_values(name, values, encode=glb, **changes):
  """The file with other values for an attribute or the indices."""
  def edit(header, blob):
    place = primitive(header) if name == 'indices' else primitive(header)['attributes']
    place[name] = add(header, blob, values, **changes)
  return change(edit, encode)


def by_corners(faces, mode, indices=True):
  """The solid by the corners of one primitive, of which each may have its own vertex."""
  def edit(header, blob):
    if indices:
      primitive(header)['indices'] = add(header, blob, np.uint8(faces))
    else:
      primitive(header).pop('indices')
      primitive(header)['attributes'] = {
          'POSITION': add(header, blob, np.float32(POINTS[faces])),
          'COLOR_0': add(header, blob, np.float32(COLORS[faces]))}
    primitive(header)['mode'] = mode
  return change(edit)


def in_fans():
  """One fan for each corner of the bottom and the top that the faces share."""
  def edit(header, blob):
    base = primitive(header)
    header['meshes'][0]['primitives'] = [
        base | {'mode': 6, 'indices': add(header, blob, np.uint8(face))} for face in FACES]
  return change(edit)


def sparse(rows, index_kind, base, values=PLACES):
  """Positions or colours of which `rows` are replaced, over a base array or over zeros."""
  def edit(header, blob):
    view = lambda values: header['accessors'][add(header, blob, values)]['bufferView']
    entry, index = header['accessors'][int(values is not PLACES)], np.array(rows, index_kind)
    entry.pop('bufferView')
    if base:
      wrong = values.copy()
      wrong[rows] = 99
      entry['bufferView'] = view(wrong)
    entry |= {'componentType': files.CODES[values.dtype], 'normalized': values.dtype != 'f4'}
    entry['sparse'] = {
        'count': len(rows), 'values': {'bufferView': view(values[rows])},
        'indices': {'bufferView': view(index), 'componentType': files.CODES[index.dtype]}}
  return change(edit)


def interleaved():
  def edit(header, blob):
    rows = np.zeros(8, [('p', '<f4', 3), ('c', '<f4', 3), ('gap', '<u4')])
    rows['p'], rows['c'], rows['gap'] = POINTS, COLORS, 2**31
    view = len(header['bufferViews'])
    header['bufferViews'].append({'buffer': 0, 'byteOffset': len(blob), 'byteLength': rows.nbytes,
                                  'byteStride': rows.itemsize})
    blob += rows.tobytes()
    for index, offset in ((0, 0), (1, 12)):
      header['accessors'][index] |= {'bufferView': view, 'byteOffset': offset}
  return change(edit)


def split_buffer(both_outside):
  """Indices in another buffer than vertices."""
  header, blob = solid()
  view = header['bufferViews'][2]
  start = view['byteOffset']
  view |= {'buffer': 1, 'byteOffset': 0}
  header['buffers'] = [{'byteLength': start}, {'byteLength': len(blob) - start,
                                               'uri': 'b.bin'}]
  outside = {'b.bin': bytes(blob[start:])}
  if both_outside:
    header['buffers'][0]['uri'] = 'a.bin'
    return {'x.gltf': json.dumps(header).encode(), 'a.bin': bytes(blob[:start])} | outside
  return {'x.glb': glb(header, blob[:start])} | outside


def beside(link, name, more=b''):
  header, blob = solid()
  return {'x.gltf': gltf(header, blob, link), name: bytes(blob) + more}


def nodes(*entries, **extra):
  """The file with other nodes, of which the first is the root."""
  return change(lambda header, blob: header.update({'nodes': list(entries)} | extra))


def with_entries(**entries):
  """The file with more top-level entries; lists are appended."""
  def edit(header, blob):
    for key, value in entries.items():
      header[key] = header.get(key, []) + value if isinstance(value, list) else value
  return change(edit)


def with_primitive(**entry):
  return change(lambda header, blob: header['meshes'][0]['primitives'].append(
      {'attributes': {'POSITION': 0}} | entry))


def raw(**options):
  """Arguments of `glb`: other chunks, a wrong total."""
  return lambda: glb(*solid(), **options)


HALF = 0.5**0.5
BLOB = bytes(solid()[1])
TURN = {'rotation': [HALF, 0, 0, HALF]}, {'rotation': [-HALF, 0, 0, HALF]}
MIRROR = POINTS * (-1, 1, 1)
MATRIX = np.array([(0, 0.02, 0, 3), (-0.01, 0, 0, 4), (0, 0, 0.05, 5), (0, 0, 0, 1)])
SMALL = {'mesh': 0, 'scale': [0.01] * 3}
HIDDEN = {'KHR_node_visibility': {'visible': False}}
MOVE = {'samplers': [], 'channels': [{'sampler': 0, 'target': {'node': 0, 'path': 'scale'}}]}
NEUTRAL = {
    # The text of the header.
    'plain text': lambda: gltf(*solid()),
    'keys reversed': lambda: header_text(lambda entry: dict(reversed(entry.items()))),
    'keys sorted': lambda: header_text(sort_keys=True),
    'indented': lambda: header_text(indent='\t'),
    'extras': lambda: header_text(lambda entry: entry | {'extras': [1, {'mesh': 7}, None]}),
    'unknown keys': lambda: header_text(lambda entry: entry | {'mesch': 7, 'scales': []}),
    'names': lambda: header_text(lambda entry: entry | {'name': 'Bär 熊 "\\" \u0000 🐻'}),
    'names unescaped': lambda: header_text(
        lambda entry: entry | {'name': 'Bär 熊 🐻'}, ensure_ascii=False),
    'whole numbers as floats': lambda: change(lambda header, blob: header.update(json.loads(
        re.sub(r'": (\d+)(?=[,}])', r'": \1.0', json.dumps(header))))),
    'spaces before': lambda: b' \n' + gltf(*solid()),
    'byte order mark': lambda: b'\xef\xbb\xbf' + gltf(*solid()),
    'zeros after the header': lambda: glb(
        json.dumps(files.with_buffer(*[solid()[0], len(BLOB)])).encode() + b'\0\0\0\0', BLOB),
    'version 2.1': lambda: with_entries(asset={'version': '2.1', 'minVersion': '2.0'}),
    'generator': lambda: with_entries(asset={'version': '2.0', 'generator': 'x', 'copyright': 'y'}),
    # Chunks of a GLB.
    'chunk after': raw(chunks=[(b'BIN\0', BLOB), (b'XYZ\0', b'1234')]),
    'chunk before': raw(chunks=[(b'XYZ\0', b'1234'), (b'BIN\0', BLOB)]),
    'two binary chunks': raw(chunks=[(b'BIN\0', BLOB), (b'BIN\0', b'1234')]),
    'long chunk': raw(chunks=[(b'BIN\0', BLOB + b'123')]),
    'bytes after': lambda: glb(*solid()) + b'1234567890',
    # Where the buffer is.
    'octet stream': lambda: gltf(*solid(), files.uri(
        BLOB, 'data:application/octet-stream;base64,')),
    'charset': lambda: gltf(*solid(), files.uri(BLOB, 'data:text/plain;charset=utf-8;base64,')),
    'no media type': lambda: gltf(*solid(), files.uri(BLOB, 'data:;base64,')),
    'capitals': lambda: gltf(*solid(), files.uri(BLOB, 'DATA:application/octet-stream;BASE64,')),
    'base64 in percents': lambda: gltf(*solid(), 'data:;base64,' + urllib.parse.quote(
        base64.b64encode(BLOB), safe='')),
    'base64 unpadded': lambda: gltf(*solid(), files.uri(BLOB + b'1').rstrip('=')),
    'percents': lambda: gltf(*solid(), 'data:,' + urllib.parse.quote(BLOB)),
    'long data': lambda: gltf(*solid(), files.uri(BLOB + b'12345')),
    'data in a GLB': lambda: glb(
        files.with_buffer(*[solid()[0], len(BLOB)], uri=files.uri(BLOB)), b'1234'),
    'file': lambda: beside('a.bin', 'a.bin'),
    'file, quoted': lambda: beside('a%20%C3%A4%25.bin', 'a ä%.bin'),
    'file, unquoted': lambda: beside('a ä 熊.bin', 'a ä 熊.bin'),
    'file, here': lambda: beside('./a.bin', 'a.bin'),
    'file, below': lambda: beside('data/x/a.bin', 'data/x/a.bin'),
    'file, dots': lambda: beside('a..b.bin', 'a..b.bin'),
    'file, colon': lambda: beside('a%3Ab.bin', 'a:b.bin'),
    'file, long': lambda: beside('a.bin', 'a.bin', b'12345'),
    'buffer split': lambda: split_buffer(False),
    'buffers outside': lambda: split_buffer(True),
    'buffer unused and absent': lambda: with_entries(
        buffers=[{'byteLength': len(BLOB)}, {'byteLength': 9, 'uri': '../none.bin'}]),
    'text in a .glb': lambda: {'x.glb': gltf(*solid())},
    'GLB in a .gltf': lambda: {'x.gltf': glb(*solid())},
    # Accessors.
    'interleaved': interleaved,
    'indices of 8 bits': lambda: with_values('indices', np.uint8(FACES).ravel()),
    'indices of 32 bits': lambda: with_values('indices', np.uint32(FACES).ravel()),
    'sparse': lambda: sparse([0, 1, 2, 3, 4, 5, 6, 7], '<u2', False),
    'sparse without zeros': lambda: sparse([1, 2, 3, 4, 5, 6, 7], 'u1', False),
    'sparse over values': lambda: sparse([2, 7], '<u4', True),
    'sparse colours': lambda: sparse([0, 3, 7], 'u1', True, np.float32(COLORS)),
    'sparse colours of 8 bits': lambda: sparse(
        [0, 1, 2, 3, 4, 5, 6, 7], 'u1', False, np.uint8(np.round(COLORS * 255))),
    'positions of 8 bits': lambda: with_values('POSITION', np.int8(POINTS)),
    'positions of 16 bits': lambda: with_values('POSITION', np.uint16(POINTS), gltf),
    'colours of 8 bits': lambda: with_values(
        'COLOR_0', np.uint8(np.round(COLORS * 255)), normalized=True),
    'colours of 16 bits': lambda: with_values(
        'COLOR_0', np.uint16(np.round(COLORS * 65535)), normalized=True),
    'colours with alpha': lambda: with_values(
        'COLOR_0', np.float32(np.pad(COLORS, ((0, 0), (0, 1))))),
    'positions normalized': lambda: change(lambda header, blob: (
        primitive(header)['attributes'].update(
            POSITION=add(header, blob, np.int16(POINTS), normalized=True)),
        header['nodes'][0].update(scale=[327.67] * 3))),
    'more attributes': lambda: change(lambda header, blob: primitive(header)['attributes'].update(
        TEXCOORD_0=7, NORMAL=8, _X=9)),
    # Primitives.
    'mode': lambda: change(lambda header, blob: primitive(header).update(mode=4, material=3)),
    'no indices': lambda: by_corners(FACES.ravel(), 4, indices=False),
    'strip': lambda: by_corners(STRIP, 5),
    'strip without indices': lambda: by_corners(STRIP, 5, indices=False),
    'fans': in_fans,
    'two primitives': lambda: change(lambda header, blob: header['meshes'][0].update(primitives=[
        primitive(header) | {'indices': add(header, blob, np.uint8(part).ravel())}
        for part in (FACES[:5], FACES[5:])])),
    'two meshes': lambda: change(lambda header, blob: header.update(
        meshes=[{'primitives': [primitive(header) | {'indices': add(
            header, blob, np.uint8(part).ravel())}]} for part in (FACES[:5], FACES[5:])],
        nodes=[SMALL | {'children': [1]}, {'mesh': 1}])),
    'face without area': lambda: with_values('indices', np.uint8([*FACES.ravel(), 3, 3, 5])),
    'corners left over': lambda: with_values('indices', np.uint8([*FACES.ravel(), 3, 5])),
    'points': lambda: with_primitive(mode=0), 'lines': lambda: with_primitive(mode=1),
    'line strip': lambda: with_primitive(mode=3),
    'no positions': lambda: with_primitive(attributes={'NORMAL': 0}),
    'Draco beside plain data': lambda: change(lambda header, blob: (
        primitive(header).update(extensions={'KHR_draco_mesh_compression': {'bufferView': 9}}),
        header.update(extensionsUsed=['KHR_draco_mesh_compression']))),
    'unknown extension': lambda: with_entries(extensionsUsed=['ACME_bend', 'KHR_lights_punctual']),
    'required': lambda: with_entries(extensionsRequired=[
        'KHR_materials_unlit', 'KHR_texture_transform', 'KHR_texture_basisu', 'KHR_lights_punctual',
        'EXT_texture_webp', 'KHR_xmp_json_ld', 'KHR_animation_pointer', 'KHR_node_visibility',
        'KHR_mesh_quantization', 'EXT_mesh_gpu_instancing', 'ADOBE_materials_thin_transparency']),
    # Nodes and scenes.
    'identity around': lambda: nodes({'children': [1]}, SMALL),
    'scale and back': lambda: nodes({'scale': [4, 0.5, -2], 'children': [1]}, {
        'mesh': 0, 'scale': [0.0025, 0.02, -0.005]}),
    'turn and back': lambda: nodes(TURN[0] | {'children': [1]}, TURN[1] | SMALL),
    'turn, not of length 1': lambda: nodes(
        {'rotation': [3, 0, 0, 3], 'children': [1]}, TURN[1] | SMALL),
    'move and back': lambda: nodes({'translation': [1, 2, 3], 'children': [1]}, {
        'translation': [-1, -2, -3], **SMALL}),
    'mirrored twice': lambda: nodes({'scale': [1, -1, 1], 'children': [1]}, {
        'mesh': 0, 'scale': [0.01, -0.01, 0.01]}),
    'mirror image mirrored': lambda: (lambda header, blob: (
        header['nodes'][0].update(scale=[-0.01, 0.01, 0.01]), glb(header, blob))[1])(
            *solid(MIRROR, FACES[:, ::-1])),
    'matrix': lambda: nodes({'mesh': 0, 'matrix': np.diag(
        [0.01, 0.01, 0.01, 1]).ravel().tolist()}),
    'matrix and back': lambda: nodes(
        {'children': [1], 'matrix': MATRIX.T.ravel().tolist()},
        {'children': [2], 'matrix': np.linalg.inv(MATRIX).T.ravel().tolist()}, SMALL),
    'deep': lambda: nodes(*[{'children': [i + 1]} for i in range(1500)], SMALL),
    'camera and light': lambda: nodes(
        SMALL | {'children': [1, 2]}, {'camera': 0}, {'name': 'light'}, cameras=[{'type': '?'}]),
    'no default scene': lambda: change(lambda header, blob: header.pop('scene')),
    'another scene': lambda: with_entries(scenes=[{'nodes': [1]}], nodes=[{'mesh': 0}]),
    'second scene': lambda: with_entries(scene=1, scenes=[{'nodes': [1]}], nodes=[SMALL]),
    'no scenes': lambda: change(lambda header, blob: (header.pop('scene'), header.pop('scenes'))),
    'unused node and mesh': lambda: with_entries(nodes=[{'mesh': 0}], meshes=[{'primitives': []}]),
    'hidden node': lambda: with_entries(nodes=[{'mesh': 0, 'extensions': HIDDEN, 'children': [2]},
                                          {'mesh': 0}], scenes=[{'nodes': [0, 1]}], scene=1),
    'animation': lambda: with_entries(animations=[MOVE]),
    # Instances, morph targets, skins.
    'instance': lambda: files.instances({'scale': [0.01] * 3}, TRANSLATION=np.float32([(0, 0, 0)])),
    'instance, moved back': lambda: files.instances(
        {'translation': [1, 2, 3], 'scale': [0.02] * 3},
        TRANSLATION=np.float32([(-50, -100, -150)]), SCALE=np.float32([(0.5, 0.5, 0.5)])),
    'instance, turned back': lambda: files.instances(
        TURN[0] | {'scale': [0.01] * 3}, ROTATION=np.int16([(-23170, 0, 0, 23170)])),
    'instance, own attribute': lambda: files.instances({'scale': [0.01] * 3}, _ID=np.float32([3])),
    'morph without weights': lambda: files.morphs(None, base=False),
    'morph of weight 0': lambda: files.morphs([0.0], base=False),
    'morph': lambda: files.morphs([1.0]),
    'morphs': lambda: files.morphs([0.5, 0, 2], deltas=(1, 7, -0.5)),
    'morph of the node': lambda: files.morphs([0.25], [2.0]),
    'morph without, by the node': lambda: files.morphs([1.0], [0.0], base=False),
    'skin': lambda: files.skin(np.uint8([0] * 4), np.float32([1, 0, 0, 0])),
    'skin of 16 bits': lambda: files.skin(np.uint16([0] * 4), np.uint16([65535, 0, 0, 0])),
    'skin of two joints': lambda: files.skin(
        np.uint8([0, 1, 0, 0]), np.float32([0.25, 0.75, 0, 0]), 2),
    'skin, weights of 8 bits': lambda: files.skin(
        np.uint8([0, 1, 2, 0]), np.uint8([51, 102, 102, 0]), 3),
    'skin, weights not of sum 1': lambda: files.skin(
        np.uint8([0, 1, 0, 0]), np.float32([0.3, 0.6, 0, 0]), 2),
    'skin of eight joints': lambda: files.skin(
        np.uint8([0, 1, 2, 3]), np.float32([0.125] * 4), 4, sets=2),
    'skin, bound': lambda: files.skin(
        np.uint8([0] * 4), np.float32([1, 0, 0, 0]), nodes=[
            {'matrix': MATRIX.T.ravel().tolist()}],
        inverse=np.linalg.inv(MATRIX) @ np.diag([0.01, 0.01, 0.01, 1])),
}
NOTES = {
    'corners left over': 'left over', 'points': 'points and lines', 'lines': 'points and lines',
    'line strip': 'points and lines', 'no positions': 'without positions',
    'another scene': 'other scenes are ignored; meshes outside', 'second scene': 'other scenes',
    'no scenes': 'no scene', 'unused node and mesh': 'meshes outside',
    'hidden node': 'other scenes are ignored; hidden meshes', 'animation': 'animations',
    'unknown extension': 'the extension ACME_bend is ignored'}


def read(data, folder):
  """The mesh of a file, or of the first of several."""
  several = data if isinstance(data, dict) else {
      'x.glb' if data[:4] == b'glTF' else 'x.gltf': data}
  for name, content in several.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
  return mesh_io.read(folder / next(iter(several)), up='z')


@pytest.fixture(scope='module')
def expected(tmp_path_factory):
  mesh = read(glb(*solid()), tmp_path_factory.mktemp('plain'))
  np.testing.assert_array_equal(mesh.faces, FACES)
  np.testing.assert_allclose(mesh.vertices, POINTS / 100, atol=1e-7)
  return files.figures(mesh)


@pytest.mark.parametrize('name', NEUTRAL)
def test_the_same_in_other_words(name, expected, tmp_path):
  mesh = read(NEUTRAL[name](), tmp_path)
  tolerance = 1e-4 if '16 bits' in name and 'colours' in name else 2e-6
  np.testing.assert_allclose(files.figures(mesh), expected, rtol=1e-6, atol=tolerance)
  notes = '; '.join(mesh.notes)
  assert notes.startswith(NOTES[name]) if name in ('another scene', 'hidden node') else (
      NOTES.get(name, '') in notes and (name in NOTES) == bool(notes))

"""What is read of glTF 2: against trimesh where it reads the feature, else against the formulas."""

import json
import os

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io, sweep_tables
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

UNSKINNED = np.float32([1, 0, 0, 0])


def read(data, tmp_path, name='x.glb'):
  (tmp_path / name).write_bytes(data)
  return mesh_io.read(tmp_path / name, up='z')


def refusal(data, tmp_path, name='x.glb'):
  """The sentence that a file is refused with."""
  with pytest.raises(MeshError) as error:
    read(data, tmp_path, name)
  return str(error.value).removeprefix(f'{tmp_path / name}: ')


def assert_vertices(mesh, points):
  """Asserts the vertices of the solid's one part, and that its faces still point outwards."""
  np.testing.assert_allclose(mesh.vertices, points, atol=2e-6)
  assert files.figures(mesh)[0] > 0


def test_scene_against_trimesh(tmp_path):
  """Nodes in nodes, a mirror, a matrix, a strip, positions of 16 bits and a buffer outside."""
  def edit(header, blob):
    tilt = Rotation.from_euler('xyz', (0.3, -0.5, 0.7)).as_quat().tolist()
    small = np.diag([0.5, 0.25, 0.5, 1])
    small[:3, 3] = 1, 2, 3
    header['nodes'] = [
        {'children': [1, 2], 'rotation': tilt, 'translation': [5, 6, 7]},
        {'mesh': 0, 'scale': [0.01, -0.02, 0.01], 'children': [3]},
        {'mesh': 1, 'matrix': small.T.ravel().tolist()}, {'mesh': 1, 'translation': [300, 0, 0]}]
    strip = {'attributes': {'POSITION': add(header, blob, np.uint16([
        (0, 0, 0), (9, 0, 0), (0, 8, 0), (9, 8, 7)]))}, 'mode': 5}
    header['meshes'].append({'primitives': [strip]})
    header['extensionsRequired'] = header['extensionsUsed'] = ['KHR_mesh_quantization']
  header, blob = solid()
  edit(header, blob)
  (tmp_path / 'x.bin').write_bytes(blob)
  (tmp_path / 'x.gltf').write_bytes(gltf(header, blob, 'x.bin'))
  expected = trimesh.load_scene(tmp_path / 'x.gltf').to_geometry()
  result = mesh_io.read(tmp_path / 'x.gltf', up='z')
  np.testing.assert_allclose(result.vertices.min(0), expected.bounds[0], atol=1e-4)
  np.testing.assert_allclose(result.vertices.max(0), expected.bounds[1], atol=1e-4)
  np.testing.assert_allclose(files.figures(result.replace(colors=None)), files.figures(
      Mesh(expected.vertices, expected.faces)), rtol=1e-5)


def test_skin(tmp_path):
  """Joints that turn, in a hierarchy, with inverse bind matrices; the mesh's node has no effect."""
  turn = Rotation.from_euler('y', 90, degrees=True)
  inverse = np.diag([0.01, 0.01, 0.01, 1])
  inverse[:3, 3] = 0, 0, -0.5
  joints = np.uint8([(0, 1, 0, 0)] * 8)
  weights = np.zeros((8, 4), np.float32)
  weights[:, 1] = POINTS[:, 2] / 120
  weights[:, 0] = 1 - weights[:, 1]
  nodes = [{'translation': [0, 0, 0.5], 'children': [2]}, {'rotation': turn.as_quat().tolist()}]
  mesh = read(files.skin(joints, weights, 2, nodes, inverse).replace(
      b'"nodes": [0, 1, 2]', b'"nodes": [0, 1]   '), tmp_path)
  local = POINTS / 100 - (0, 0, 0.5)
  expected = weights[:, :1] * local + weights[:, 1:2] * turn.apply(local) + (0, 0, 0.5)
  np.testing.assert_allclose(mesh.vertices, expected, atol=1e-6)


def test_skin_in_centimetres(tmp_path):
  """A joint that scales, turns and mirrors: the size is that of the scene."""
  node = {'scale': [0.01, 0.01, -0.01], 'rotation': [-0.5**0.5, 0, 0, 0.5**0.5]}
  mesh = read(files.skin(np.uint8([0] * 4), UNSKINNED, nodes=[node]), tmp_path)
  x, y, z = POINTS.T / 100
  assert_vertices(mesh, np.stack([x, -z, -y], -1))


def test_morph_targets(tmp_path):
  """The weights of the mesh, or those of the node; colours follow and stay in [0, 1]."""
  step, tint = np.array((3, -2, 5)), np.array((0.25, 0, 0.5))
  for weights, node, total in (([1.0, 0.5], None, 2.0), ([1.0, 0.5], [0.0, 0.25], 0.5)):
    mesh = read(files.morphs(weights, node, (1.0, 2.0), base=False), tmp_path)
    assert_vertices(mesh, (POINTS + total * step) / 100)
    np.testing.assert_allclose(
        mesh.colors ** 2.2, np.clip(COLORS + total * tint, 0, 1), atol=0.02)
  assert 'not a list of 1 numbers' in refusal(change(lambda header, blob: (
      header['meshes'][0].update(weights=[1, 2]),
      primitive(header).update(targets=[{'POSITION': 0}]))), tmp_path)


def test_instances_against_nodes(tmp_path):
  """Places, turns and scales of instances in a node that is moved, one of them mirrored."""
  shift = np.float32([(100, 0, 0), (0, 200, 50), (-200, 0, 0)])
  turn = np.float32(Rotation.from_euler('z', [[0.1], [1], [-2]]).as_quat())
  scale = np.float32([(1, 1, 1), (2, 1, 0.5), (-1, 1, 1)])
  outer = {'scale': [0.01] * 3, 'translation': [1, 2, 3], 'rotation': [0.6, 0, 0, 0.8]}
  mesh = read(files.instances(outer, TRANSLATION=shift, ROTATION=turn, SCALE=scale), tmp_path)
  def edit(header, blob):
    header['nodes'] = [outer | {'children': [1, 2, 3]}, *(
        {'mesh': 0, 'translation': t, 'rotation': r, 'scale': s}
        for t, r, s in zip(shift.tolist(), turn.tolist(), scale.tolist()))]
  (tmp_path / 'nodes.glb').write_bytes(change(edit))
  expected = trimesh.load_scene(tmp_path / 'nodes.glb').to_geometry()
  np.testing.assert_allclose(files.figures(mesh)[0], expected.volume, rtol=1e-5)
  order = lambda vertices: vertices[np.lexsort(np.round(vertices, 3).T)]
  np.testing.assert_allclose(order(mesh.vertices), order(expected.vertices), atol=1e-4)


def beside(link):
  header, blob = solid()
  return gltf(header, blob, link)


@pytest.mark.parametrize('link', [
    '../secret.bin', 'data/../../secret.bin', 'data%2F..%2F..%2Fsecret.bin', '..%2fsecret.bin',
    '/etc/hostname', '%2Fetc/hostname', 'file:///etc/hostname', 'http://127.0.0.1:9/a.bin',
    'C:\\a.bin', '..\\secret.bin', 'link.bin', 'link/secret.bin', '', 'data/../a.bin'])
def test_buffers_outside_the_folder_are_refused(link, tmp_path):
  folder = tmp_path / 'folder'
  (folder / 'data').mkdir(parents=True)
  (tmp_path / 'secret.bin').write_bytes(solid()[1])
  (folder / 'a.bin').write_bytes(solid()[1])
  (folder / 'link.bin').symlink_to('../secret.bin')
  (folder / 'link').symlink_to('..')
  assert refusal(beside(link), folder, 'x.gltf').endswith(
      '; only files below its own folder are read.')


def test_buffers_that_cannot_be_read(tmp_path):
  (tmp_path / 'short.bin').write_bytes(solid()[1][:-1])
  (tmp_path / 'loop').symlink_to('loop')
  os.mkfifo(tmp_path / 'pipe')
  size = len(solid()[1])
  for link, words in (
      ('none.bin', 'the file refers to "none.bin", which is not there.'),
      ('pipe', 'the file refers to "pipe", which is not there.'),
      ('a%00b%0A', 'the file refers to "a?b?", which cannot be read.'),
      ('\ud800', 'the file refers to "?", which cannot be read.'),
      ('short.bin', f'buffer 0 has {size - 1} bytes; the file claims {size}.'),
      ('data:;base64,@@@@', 'buffer 0 is no valid base64.'),
      ('data:x', 'buffer 0 has a data: URI without data.'),
      ('data:,x', f'buffer 0 has 1 bytes; the file claims {size}.')):
    assert refusal(beside(link), tmp_path, 'x.gltf') == words
  for link in ('loop', 'x' * 300):
    assert refusal(beside(link), tmp_path, 'x.gltf').endswith(('be read.', 'not there.'))


@pytest.mark.parametrize('link', ['none.bin', '../a.bin', 'http://127.0.0.1:9/a.bin', ''])
def test_a_buffer_that_nothing_uses_may_be_missing(link, tmp_path):
  header, blob = solid()
  document = json.loads(gltf(header, blob, 'a.bin'))
  document['buffers'].append({'byteLength': 1, 'uri': link})
  (tmp_path / 'a.bin').write_bytes(blob)
  (tmp_path / 'x.gltf').write_text(json.dumps(document))
  [item] = mesh_io.read_solids(tmp_path / 'x.gltf')
  assert item.files == (tmp_path / 'a.bin',)
  document['buffers'][1] = 5
  (tmp_path / 'x.gltf').write_text(json.dumps(document))
  with pytest.raises(MeshError, match='"buffers" is not an object'):
    mesh_io.read_solids(tmp_path / 'x.gltf')


def accessors(index, **changes):
  return change(lambda header, blob: header['accessors'][index].update(changes))


def top(**entries):
  return change(lambda header, blob: header.update(entries))


def part(**entries):
  return change(lambda header, blob: primitive(header).update(entries))


def sparse(**changes):
  return accessors(0, sparse={
      'count': 2, 'indices': {'bufferView': 2, 'componentType': 5123},
      'values': {'bufferView': 1}} | changes)


def with_compression(name):
  def edit(header, blob):
    primitive(header)['extensions'] = {name: {'bufferView': 0}}
    del header['accessors'][1]['bufferView']
  return change(edit)


COMMAND = '`gltf-transform copy in.glb out.glb`'
REFUSED = {
    'accessor': (part(indices=7), 'accessor 7 is not there (the file has 3).'),
    'view': (accessors(0, bufferView=3), 'bufferView 3 is not there (the file has 3).'),
    'mesh': (top(nodes=[{'mesh': 1}]), 'mesh 1 is not there (the file has 1).'),
    'scene': (top(scene=2), 'scene 2 is not there (the file has 1).'),
    'node': (top(scenes=[{'nodes': [3]}]), 'node 3 is not there (the file has 1).'),
    'child': (top(nodes=[{'mesh': 0, 'children': [4]}]), 'node 4 is not there (the file has 1).'),
    'skin': (top(nodes=[{'mesh': 0, 'skin': 1}]), 'skin 1 is not there (the file has 0).'),
    'joint': (top(nodes=[{'mesh': 0, 'skin': 0}], skins=[{'joints': [8]}]),
              'node 8 is not there (the file has 1).'),
    'vertex': (change(lambda header, blob: primitive(header).update(
        indices=add(header, blob, np.uint8([0, 1, 8])))),
               'a face names vertex 8, which is not there.'),
    'missing': (top(accessors=[{}, {}, {'count': 3}]), '"type" is missing in the header'),
    'kind': (accessors(0, count='8'), '"count" is not a whole number in the header'),
    'type': (accessors(0, type='VEC4'), 'accessor 0 has a type or component type'),
    'component': (accessors(2, componentType=5124), 'accessor 2 has a type or component type'),
    'signed': (accessors(2, componentType=5122), 'no unsigned integers'),
    'normalized': (accessors(0, normalized=True), 'cannot be normalized'),
    'sparse order': (sparse(indices={'bufferView': 2, 'componentType': 5121}), 'out of order'),
    'sparse range': (sparse(count=9), 'out of range or out of order'),
    'sparse type': (sparse(indices={'bufferView': 1, 'componentType': 5126}), 'no unsigned'),
    'sparse size': (sparse(values={'bufferView': 2, 'byteOffset': 60}), 'does not have'),
    'cycle': (top(nodes=[{'mesh': 0}, {'children': [2]}, {'children': [1]}]), 'form a cycle'),
    'parents': (top(nodes=[{'children': [2]}, {'children': [2]}, {'mesh': 0}]),
                'node 2 has two parents.'),
    'root': (top(nodes=[{'children': [1]}, {'mesh': 0}], scenes=[{'nodes': [1]}]), 'has a parent'),
    'twice': (top(scenes=[{'nodes': [0, 0]}]), 'is there twice'),
    'projection': (top(nodes=[{'mesh': 0, 'matrix': [1.0] * 16}]), 'not affine'),
    'two transforms': (top(nodes=[{'mesh': 0, 'scale': [1, 1, 1], 'matrix': np.eye(
        4).ravel().tolist()}]), 'not its only transform'),
    'rotation': (top(nodes=[{'mesh': 0, 'rotation': [0, 0, 0, 0]}]), 'is no quaternion'),
    'mode': (part(mode=7), 'mode 7, which does not exist'),
    'points': (part(mode=0), 'the file has no triangles: points and lines are ignored.'),
    'no mesh': (top(nodes=[{'name': 'camera'}], meshes=[]), 'the file has no triangles.'),
    'draco': (top(extensionsRequired=['KHR_draco_mesh_compression']), COMMAND),
    'meshopt': (top(extensionsRequired=['EXT_meshopt_compression']), COMMAND),
    'draco, not required': (with_compression('KHR_draco_mesh_compression'), COMMAND),
    'meshopt, not required': (glb(*(lambda header, blob: (header | {'buffers': [
        {'byteLength': len(blob), 'extensions': {'EXT_meshopt_compression': {'fallback': True}}}]},
        blob))(*solid()), chunks=[(b'XYZ\0', b'1234')]), COMMAND),
    'odd names': (top(extensionsRequired=['A\nbend']), 'A?bend, which is not read.'),
    'displacement': (top(extensionsRequired=['KHR_materials_displacement']), 'is not read.'),
    'no object': (glb(b'[1, 2]', b''), 'the header of the file is no JSON object.'),
    'odd attribute': (change(lambda header, blob: primitive(header)['attributes'].update(
        {'WEIGHTS_\n': 1}) or header.update(nodes=[{'mesh': 0, 'skin': 0}], skins=[
            {'joints': [0]}])), '"JOINTS_?" is missing'),
    'unknown': (top(extensionsRequired=['KHR_texture_transform', 'ACME_bend', 'X_y']),
                'the file needs the glTF extension ACME_bend, X_y, which is not read.'),
    'version': (top(asset={'version': '2.1', 'minVersion': '2.1'}), 'this is no glTF 2.0 file.'),
    'joints': (files.skin(np.uint8([0, 2, 0, 0]), np.float32([0.5, 0.5, 0, 0]), 2), 'not there'),
    'weights': (files.skin(np.uint8([0] * 4), np.float32([0] * 4)), 'follows no joint'),
    'negative': (files.skin(np.uint8([0] * 4), np.float32([2, -1, 0, 0])), 'negative weight'),
    'unweighted': (top(skins=[{'joints': [0]}], nodes=[{'mesh': 0, 'skin': 0}]),
                   'follows no joint'),
    'instances': (files.instances({}, TRANSLATION=np.float32([(0, 0, 0)]), _ID=np.float32([1, 2])),
                  'different counts'),
    'instances of a skin': (
        top(skins=[{'joints': [0]}], nodes=[{'mesh': 0, 'skin': 0, 'extensions': {
            'EXT_mesh_gpu_instancing': {'attributes': {}}}}]), 'both a skin and instances'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_not_read(name, tmp_path):
  data, words = REFUSED[name]
  sentence = refusal(data, tmp_path)
  assert words in sentence and sentence.endswith('.') and sentence.count('. ') == 0


def test_no_more_work_than_the_file_is_worth(tmp_path):
  """Many instances, targets and joints in a small file are refused before they take long."""
  many = change(lambda header, blob: header.update(nodes=[{'extensions': {
      'EXT_mesh_gpu_instancing': {'attributes': {'TRANSLATION': 3}}}, 'mesh': 0}], accessors=[
          *header['accessors'], {'componentType': 5126, 'count': 10**5 + 1, 'type': 'VEC3'}]))
  assert 'too many elements' in refusal(many, tmp_path)
  many = change(lambda header, blob: (
      primitive(header).update(targets=[{'POSITION': 0}] * 300),
      header['meshes'][0].update(weights=[1] * 300)))
  assert 'more than 256' in refusal(many, tmp_path)
  zeros = accessors(0, count=10**8)
  assert 'does not have' in refusal(zeros, tmp_path)
  zeros = change(lambda header, blob: header['accessors'].__setitem__(0, {
      'componentType': 5126, 'count': 10**8, 'type': 'VEC3'}))
  assert 'from 1 to 10000000 are read' in refusal(zeros, tmp_path)


def test_notes_reach_the_row_of_a_sweep(tmp_path):
  animated = change(lambda header, blob: header.update(animations=[
      {'channels': [{'target': {'node': 0, 'path': 'rotation'}}]}]))
  (tmp_path / 'a.glb').write_bytes(animated)
  [item] = sweep_tables.examine(tmp_path / 'a.glb', 'a')
  assert item.error == '' and item.note == 'animations are ignored: the pose at rest is read'
  other = change(lambda header, blob: (
      header['nodes'].append({'camera': 0}), header.update(animations=[
          {'channels': [{'target': {'node': 1, 'path': 'rotation'}}, {'target': {'path': 'x'}}]}])))
  assert read(other, tmp_path).notes == ()
  assert FACES.shape == read(other, tmp_path).faces.shape

"""Round trips, what other readers see, and a corpus of broken and hostile files."""

import json
import os
import socket
import struct
import subprocess
import sys

import mujoco
import numpy as np
import pytest
import trimesh

from jax3dgen.core import image
from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io
from jax3dgen.physics import body, native
from jax3dgen.scene import mesh as meshes


def bear():
  """A lopsided solid whose front (+x) is red, left (+y) green, top (+z) blue; dark underneath."""
  surface = trimesh.creation.icosphere(2, 0.5)
  vertices = surface.vertices * (1.0, 0.7, 0.5) + (0.1, 0.2, 0.3)
  colors = np.clip(0.5 + surface.vertices, 0.01, 1)
  return Mesh(vertices.astype(np.float32), np.asarray(surface.faces, np.int32),
              colors.astype(np.float32))


def by_place(mesh):
  """Vertices and colours in one order, whatever order the file had them in."""
  order = np.lexsort(np.round(mesh.vertices, 4).T)
  return mesh.vertices[order], None if mesh.colors is None else mesh.colors[order]


@pytest.mark.parametrize('kind, color_error', [
    ('glb', 1e-3), ('obj', 0.6 / 255), ('ply', 0.6 / 255), ('stl', None)])
def test_round_trip(kind, color_error, tmp_path):
  mesh, path = bear(), tmp_path / f'bear.{kind}'
  mesh_io.write(path, mesh)
  found = mesh_io.read(path)
  for (a, b), tolerance in zip(zip(by_place(found), by_place(mesh)), (1e-6, color_error)):
    if tolerance is None:
      assert a is None
    else:
      np.testing.assert_allclose(a, b, atol=tolerance)
  assert found.vertices.dtype == np.float32 and found.faces.dtype == np.int32
  assert meshes.is_watertight(found.faces)
  same, original = body.from_mesh(found), body.from_mesh(mesh)
  assert same.status == 'exact'
  np.testing.assert_allclose(same.mass, original.mass, rtol=1e-5)
  np.testing.assert_allclose(same.center, original.center, atol=1e-6)
  assert os.listdir(tmp_path) == [path.name]


def test_glb_is_as_the_standard_says(tmp_path):
  """Read by trimesh alone: y-up, winding outwards, linear colours."""
  mesh, path = bear(), tmp_path / 'bear.glb'
  mesh_io.write(path, mesh)
  (found,) = trimesh.load_scene(path, process=False).geometry.values()
  x, y, z = mesh.vertices.T
  np.testing.assert_allclose(found.vertices, np.stack([x, z, -y], -1), atol=1e-7)
  assert found.volume > 0 and found.is_watertight
  linear = image.srgb_to_linear(mesh.colors)
  stored = found.visual.vertex_attributes['color'][:, :3] / 65535
  np.testing.assert_allclose(stored, linear, atol=1e-5)
  outwards = trimesh.Trimesh(found.vertices, found.faces, process=False).vertex_normals
  assert ((found.vertex_normals * outwards).sum(-1) > 0.99).all()


@pytest.mark.parametrize('kind', ['obj', 'ply', 'stl'])
def test_other_formats_stay_z_up(kind, tmp_path):
  mesh, path = bear(), tmp_path / f'bear.{kind}'
  mesh_io.write(path, mesh)
  found = trimesh.load_scene(path).to_geometry()
  np.testing.assert_allclose(found.bounds, [mesh.vertices.min(0), mesh.vertices.max(0)], atol=1e-6)
  assert found.volume > 0


def test_up_overrides(tmp_path):
  mesh = bear()
  mesh_io.write(tmp_path / 'bear.obj', mesh)
  turned = by_place(mesh_io.read(tmp_path / 'bear.obj', up='y'))[0]
  x, y, z = mesh.vertices.T
  expected = by_place(mesh.replace(vertices=np.stack([x, -z, y], -1)))[0]
  np.testing.assert_allclose(turned, expected, atol=1e-6)
  mesh_io.write(tmp_path / 'bear.glb', mesh)
  raw = mesh_io.read(tmp_path / 'bear.glb', up='z').vertices
  np.testing.assert_allclose(raw, np.stack([x, z, -y], -1), atol=1e-6)
  with pytest.raises(ConfigError, match='up is'):
    mesh_io.read(tmp_path / 'bear.glb', up='x')


def test_mesh_without_colours(tmp_path):
  for kind in ('glb', 'obj', 'ply', 'stl'):
    mesh_io.write(tmp_path / f'bear.{kind}', bear().replace(colors=None))
    assert mesh_io.read(tmp_path / f'bear.{kind}').colors is None


def test_scenes_are_merged_where_they_are_placed(tmp_path):
  """A part under two nested transforms, one mirrored, one without colours."""
  scene = trimesh.Scene()
  box = trimesh.creation.box((1.0, 2.0, 3.0))
  plain = trimesh.Trimesh(box.vertices, box.faces, process=False)
  plain.visual.vertex_colors = np.tile(np.uint8([255, 0, 0, 255]), (8, 1))
  shift = trimesh.transformations.translation_matrix
  scene.add_geometry(plain, node_name='a', transform=shift((10, 0, 0)))
  scene.add_geometry(box, node_name='b', parent_node_name='a',
                     transform=shift((0, 5, 0)) @ np.diag([-1.0, 1, 1, 1]))
  scene.export(tmp_path / 'scene.glb')
  found = mesh_io.read(tmp_path / 'scene.glb', up='z')
  np.testing.assert_allclose(found.vertices.min(0), (9.5, -1, -1.5), atol=1e-6)
  np.testing.assert_allclose(found.vertices.max(0), (10.5, 6, 1.5), atol=1e-6)
  np.testing.assert_allclose(body.from_mesh(found).mass, 12000.0, rtol=1e-6)
  red = (np.abs(found.colors - (1, 0, 0)) < 1e-3).all(-1)
  assert red.sum() == 8 and (found.colors[~red] > 0.99).all()


def test_mjcf_drops_like_the_body(tmp_path):
  mesh = bear()
  mesh_io.write(tmp_path / 'bear.xml', mesh)
  model = mujoco.MjModel.from_xml_path(str(tmp_path / 'bear.xml'))
  expected = body.from_mesh(mesh)
  np.testing.assert_allclose(model.body_mass[1], expected.mass, rtol=1e-6)
  np.testing.assert_allclose(model.body_ipos[1], expected.center, atol=1e-6)
  np.testing.assert_allclose(np.sort(model.body_inertia[1]),
                             np.linalg.eigvalsh(expected.inertia), rtol=1e-5)
  model.opt.timestep = 0.001
  data = mujoco.MjData(model)
  mujoco.mj_step(model, data, nstep=2000)
  angle = native.drop(expected, seconds=2.0).rotation_deg
  np.testing.assert_allclose(native.rotation_deg(data.qpos[3:]), angle, atol=0.5)


def test_writing_is_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'new folder' / 'bear.glb'
  mesh_io.write(path, bear())
  before = path.read_bytes()
  for broken in (bear().replace(faces=np.zeros((0, 3), int)), bear().replace(vertices=np.ones(3)),
                 bear().replace(vertices=bear().vertices * np.nan)):
    with pytest.raises(MeshError):
      mesh_io.write(path, broken)
  with pytest.raises(MeshError, match='written to'):
    mesh_io.write(tmp_path / 'bear.fbx', bear())
  assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_same_mesh_same_bytes(tmp_path):
  for kind in mesh_io.WRITERS:
    mesh_io.write(tmp_path / f'a.{kind}', bear())
    mesh_io.write(tmp_path / f'b.{kind}', bear())
    assert (tmp_path / f'a.{kind}').read_bytes() == (tmp_path / f'b.{kind}').read_bytes()


TRIANGLE = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], np.float32)
POINTS = TRIANGLE.tobytes()


def glb(blob=POINTS, **changes):
  """A GLB of one triangle, with changed top-level entries (None leaves one out)."""
  header = {
      'asset': {'version': '2.0'}, 'scene': 0, 'scenes': [{'nodes': [0]}], 'nodes': [{'mesh': 0}],
      'meshes': [{'primitives': [{'attributes': {'POSITION': 0}}]}],
      'accessors': [{'bufferView': 0, 'componentType': 5126, 'count': 3, 'type': 'VEC3'}],
      'bufferViews': [{'buffer': 0, 'byteLength': len(blob)}],
      'buffers': [{'byteLength': len(blob)}]} | changes
  text = json.dumps({key: value for key, value in header.items() if value is not None}).encode()
  text += b' ' * (-len(text) % 4)
  return struct.pack('<4sIIII', b'glTF', 2, 28 + len(text) + len(blob), len(text), 0x4E4F534A) + (
      text + struct.pack('<II', len(blob), 0x004E4942) + blob)


def accessor(**changes):
  return [{'bufferView': 0, 'componentType': 5126, 'count': 3, 'type': 'VEC3'} | changes]


INDEXED = [{'primitives': [{'attributes': {'POSITION': 0}, 'indices': 1}]}]
PLY = ('ply\nformat {} 1.0\nelement vertex {}\n'
       'property float x\nproperty float y\nproperty float z\n')
LIST = 'element face {}\nproperty list {} int vertex_indices\nend_header\n'
BROKEN = {
    'folded.glb': glb(bufferViews=[{'buffer': 0, 'byteLength': 36, 'byteStride': 0}]),
    'empty.obj': b'', 'empty.glb': b'', 'empty.stl': b'', 'empty.ply': b'',
    'points.obj': b'v 0 0 0\nv 1 0 0\nv 0 1 0\n',
    'nan.obj': b'v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n',
    'inf.obj': b'v 0 0 inf\nv 1 0 0\nv 0 1 0\nf 1 2 3\n',
    'huge.obj': b'v 0 0 1e300\nv 1 0 0\nv 0 1 0\nf 1 2 3\n',
    'range.obj': b'v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n',
    'absurd.obj': b'v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999999\n',
    'text.obj': b'this is a letter\nand no mesh\n' * 9,
    'binary.obj': bytes(range(256)) * 40, 'binary.ply': bytes(range(256)) * 40,
    'binary.glb': bytes(range(256)) * 40, 'binary.stl': bytes(range(256)) * 40,
    'claims.stl': b'x' * 80 + struct.pack('<I', 4_000_000_000) + b'\0' * 50,
    'cut.stl': b'x' * 80 + struct.pack('<I', 2) + b'\0' * 60,
    'nan.stl': b'x' * 80 + struct.pack('<I', 1) + struct.pack('<12f', *[np.nan] * 12) + b'\0\0',
    'none.stl': b'x' * 80 + struct.pack('<I', 0),
    'claims.ply': (PLY.format('binary_little_endian', 10**9) + LIST.format(1, 'uchar')).encode()
                  + b'\0' * 99,
    'ascii.ply': (PLY.format('ascii', 10**9) + LIST.format(1, 'uchar')).encode() + b'0 0 0\n',
    'list.ply': (PLY.format('binary_little_endian', 1) + LIST.format(1, 'uint')).encode()
                + b'\0' * 12 + b'\xff\xff\xff\x7f' + b'\0' * 9,
    'header.ply': b'ply\nformat ascii 1.0\nelement vertex 3\n',
    'range.ply': (PLY.format('ascii', 3) + LIST.format(1, 'uchar')).encode()
                 + b'0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n',
    'cut.glb': glb()[:-20], 'head.glb': glb()[:30], 'json.glb': glb().replace(b'"asset"', b'"asse'),
    'version.glb': b'glTF\1\0\0\0' + glb()[8:],
    'count.glb': glb(accessors=accessor(count=2_000_000_000)),
    'negative.glb': glb(accessors=accessor(count=-3)),
    'bare.glb': glb(accessors=[{'componentType': 5126, 'count': 2_000_000_000, 'type': 'VEC3'}]),
    'instances.glb': glb(bytes(12 * 10**5), accessors=accessor(count=10**5),
                         nodes=[{'mesh': 0}] * 300, scenes=[{'nodes': list(range(300))}]),
    'tree.glb': glb(nodes=[{'children': [1, 1]}, {'mesh': 0}]),
    'stride.glb': glb(bufferViews=[{'buffer': 0, 'byteLength': 36, 'byteStride': -12}]),
    'view.glb': glb(bufferViews=[{'buffer': 0, 'byteLength': 10**9}]),
    'offset.glb': glb(bufferViews=[{'buffer': 0, 'byteOffset': -99, 'byteLength': 36}]),
    'buffer.glb': glb(bufferViews=[{'buffer': 7, 'byteLength': 36}]),
    'nan.glb': glb(blob=np.full(9, np.nan, np.float32).tobytes()),
    'matrix.glb': glb(nodes=[{'mesh': 0, 'matrix': [1e300] * 16}]),
    'index.glb': glb(POINTS + np.array([0, 1, 9], np.uint32).tobytes(), meshes=INDEXED,
                     accessors=accessor() + accessor(byteOffset=36, componentType=5125,
                                                     type='SCALAR')),
    'cycle.glb': glb(nodes=[{'children': [1]}, {'children': [0]}]),
    'draco.glb': glb(extensionsRequired=['KHR_draco_mesh_compression']),
    'deep.glb': glb(extras='@').replace(b'"@"', b'[' * 10**6),
    'nothing.glb': glb(meshes=None, nodes=None, scenes=None),
    'external.glb': glb(buffers=[{'byteLength': 36, 'uri': '../../../etc/passwd'}]),
    'remote.glb': glb(buffers=[{'byteLength': 36, 'uri': 'http://127.0.0.1:9/x.bin'}]),
    'unknown.fbx': b'Kaydara', 'archive.zip': b'PK\3\4', 'none': b'',
}


@pytest.mark.parametrize('name', BROKEN)
def test_broken_files_are_one_error(name, tmp_path, capfd):
  (tmp_path / name).write_bytes(BROKEN[name])
  with pytest.raises(MeshError) as error:
    mesh_io.read(tmp_path / name)
  assert str(error.value).startswith(str(tmp_path / name)) and '\n' not in str(error.value)[:150]


def test_absent_and_unreadable_files(tmp_path):
  for path in (tmp_path / 'absent.glb', tmp_path / ('x' * 300 + '.glb')):
    with pytest.raises(MeshError):
      mesh_io.read(path)
  (tmp_path / 'folder.glb').mkdir()
  os.mkfifo(tmp_path / 'pipe.glb')
  for name in ('folder.glb', 'pipe.glb'):
    with pytest.raises(MeshError, match='not a file'):
      mesh_io.read(tmp_path / name)


def test_names_that_are_not_utf8(tmp_path):
  path = os.fsdecode(os.fsencode(tmp_path) + b'/b\xe4r.ply')
  mesh_io.write(path, bear())
  assert len(mesh_io.read(path).faces) == len(bear().faces)
  with open(path, 'wb') as file:
    file.write(b'ply')
  with pytest.raises(MeshError) as error:
    mesh_io.read(path)
  str(error.value).encode()


def test_whole_glb_of_the_corpus_is_readable(tmp_path):
  """The broken GLBs differ from a good one by what they are named for."""
  (tmp_path / 'good.glb').write_bytes(glb())
  np.testing.assert_array_equal(mesh_io.read(tmp_path / 'good.glb', up='z').vertices, TRIANGLE)


def test_nothing_that_a_file_refers_to_is_opened(tmp_path, monkeypatch):
  secret = tmp_path / 'secret.mtl'
  secret.write_text('newmtl a\nKd 1 0 0\nmap_Kd ../secret.png\n')
  folder = tmp_path / 'meshes'
  folder.mkdir()
  faces = 'v 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl a\nf 1 2 3\n'
  for index, target in enumerate(('../secret.mtl', str(secret), 'http://127.0.0.1:9/a.mtl')):
    (folder / f'{index}.obj').write_text(f'mtllib {target}\n{faces}')
  (folder / 'a.ply').write_text(
      (PLY.format('ascii', 3) + LIST.format(1, 'uchar')).replace(
          'element vertex', 'comment TextureFile ../secret.mtl\nelement vertex')
      + '0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n')
  (folder / 'b.glb').write_bytes(glb(images=[{'uri': '../secret.mtl'}, {'uri': 'http://a/b.png'}]))
  opened = []
  sys.addaudithook(lambda event, args: opened.append((event, args[0]))
                   if event in ('open', 'socket.connect', 'socket.getaddrinfo') else None)
  monkeypatch.setattr(socket, 'socket', None)
  for path in sorted(folder.iterdir()):
    opened.clear()
    assert len(mesh_io.read(path).faces) == 1
    assert {str(name) for _, name in opened if 'cache' not in str(name)} <= {str(path)}


def test_corpus_needs_little_memory(tmp_path):
  """Each broken file in one process whose address space may grow by 1 GB at most."""
  for name, data in BROKEN.items():
    (tmp_path / name).write_bytes(data)
  code = f'''
import pathlib, resource
from jax3dgen.core.errors import MeshError
from jax3dgen.export import mesh_io
size = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**30,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(pathlib.Path({str(tmp_path)!r}).iterdir()):
  try:
    mesh_io.read(path)
    raise SystemExit(f'{{path}} was read')
  except MeshError:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
'''
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                        timeout=120, check=False)
  assert done.returncode == 0, done.stderr + done.stdout
  assert int(done.stdout) < 400_000  # KiB

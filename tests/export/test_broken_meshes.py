"""Damaged and malicious mesh files: each becomes one MeshError, soon and in little memory."""

import base64
import gzip
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io
from jax3dgen.physics import body

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


INSIDE = 'data:application/gltf-buffer;base64,' + base64.b64encode(POINTS).decode()


def gltf(uri=INSIDE, **changes):
  """The same triangle as text, its buffer at `uri`."""
  return glb(**{'buffers': [{'byteLength': 36, 'uri': uri}]} | changes)[20:-44]


INDEXED = [{'primitives': [{'attributes': {'POSITION': 0}, 'indices': 1}]}]
PLY = ('ply\nformat {} 1.0\nelement vertex {}\n'
       'property float x\nproperty float y\nproperty float z\n')
LIST = 'element face {}\nproperty list {} int vertex_indices\nend_header\n'
BROKEN = {
    'folded.glb': glb(bufferViews=[{'buffer': 0, 'byteLength': 36, 'byteStride': 0}]),
    'points.obj': b'v 0 0 0\nv 1 0 0\nv 0 1 0\n',
    'nan.obj': b'v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n',
    'inf.obj': b'v 0 0 inf\nv 1 0 0\nv 0 1 0\nf 1 2 3\n',
    'huge.obj': b'v 0 0 1e300\nv 1 0 0\nv 0 1 0\nf 1 2 3\n',
    'range.obj': b'v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n',
    'absurd.obj': b'v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999999\n',
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
    'parts.glb': glb(meshes=[{'primitives': [{'mode': 0}] * 1000}], nodes=[{'mesh': 0}] * 1000,
                     scenes=[{'nodes': list(range(1000))}]),
    'items.gltf': gltf(extras='@').replace(b'"@"', b'[' + b'{},' * 2**20 + b'0]'),
    'one.gltf': gltf(asset={'version': '1.0'}), 'cut.gltf': gltf()[:-9],
    'code.gltf': gltf('data:;base64,@@@@'), 'short.gltf': gltf('data:;base64,AAAA'),
    'plain.gltf': gltf('data:text/plain,abc'), 'external.gltf': gltf('../../../etc/passwd'),
    'remote.gltf': gltf('http://127.0.0.1:9/x.bin'), 'file.gltf': gltf('file:///etc/passwd'),
    'none.gltf': gltf(buffers=[{'byteLength': 36}]), 'nested.gltf': b'[' * 10**6,
    'count.gltf': gltf(accessors=accessor(count=2_000_000_000)),
    'claims.off': b'OFF\n1000000000 1 0\n0 0 0\n', 'cut.off': b'OFF\n3 1 0\n0 0 0\n1 0 0\n',
    'nan.off': b'OFF\n3 1 0\n0 0 nan\n1 0 0\n0 1 0\n3 0 1 2\n',
    'range.off': b'OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n',
    'corners.off': b'OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n999999999 0 1 2\n',
    'line.off': b'OFF\n3 1 0' + b' 0' * 10**6,
    'rows.ply': b'ply\nformat ascii 1.0\nelement a 9999999999999\nend_header\n',
    'turns.ply': (PLY.format('binary_little_endian', 10**7) + LIST.format(10**7, 'uchar')).encode()
                 + b'\0\1' * 10**5,
    'elements.ply': b'ply\nformat ascii 1.0\n' + b'element a 9000000\n' * 10**4 + b'end_header\n',
    'gz.obj': gzip.compress(b'v 0 0 0\n' * 10**6), 'bomb.obj.gz': gzip.compress(b'0' * 10**8),
    'unknown.fbx': b'Kaydara', 'archive.zip': b'PK\3\4' + b'\0' * 99, 'none': b'',
} | {f'{name}.{kind}': data for kind in mesh_io.READABLE for name, data in (
    ('empty', b''), ('letter', b'Dear all,\n\nthis is no mesh.\n' * 9),
    ('zip', b'PK\3\4' + b'\0' * 99), ('bytes', bytes(range(256)) * 40),
    ('zeros', bytes(500)), ('lines', b'\n' * 10**6))}


REASONS = {  # of files that a certain check must refuse, not a later one
    'parts.glb': 'more than 100000 parts', 'items.gltf': 'more than 2097152 items',
    'instances.glb': 'places more than 10000000', 'count.glb': 'does not have',
    'external.gltf': 'below its own folder', 'remote.gltf': 'below its own folder',
    'file.gltf': 'below its own folder', 'external.glb': 'below its own folder',
    'one.gltf': 'no glTF 2', 'claims.off': 'more vertices', 'rows.ply': 'more vertices',
    'claims.ply': 'more vertices', 'claims.stl': 'no STL', 'line.off': 'a line of',
    'nan.off': 'not finite', 'range.off': 'name vertex 3', 'unknown.fbx': 'is read from',
    'bomb.obj.gz': 'is read from', 'archive.zip': 'is read from'}
PYTHON = r'[a-z]Error|NoneType|invalid literal|could not convert|unpack|codec'
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BOX = trimesh.creation.box((1.0, 0.5, 0.25))
OPTIONS = {'obj': {'digits': 35}, 'off': {'digits': 35}}
GOOD = {f'a.{kind}': writer(Mesh(BOX.vertices.astype(np.float32), BOX.faces.astype(np.int32)))
        for kind, writer in mesh_io.WRITERS.items()} | {
    'a.gltf': gltf(), 'a.off': BOX.export(file_type='off').encode(),
    'text.ply': BOX.export(file_type='ply', encoding='ascii'),
    'text.stl': BOX.export(file_type='stl_ascii').encode()}


@pytest.mark.parametrize('name', BROKEN)
def test_broken_files_raise_one_error(name, tmp_path, capfd):
  (tmp_path / name).write_bytes(BROKEN[name])
  with pytest.raises(MeshError, match=REASONS.get(name)) as error:
    mesh_io.read(tmp_path / name)
  assert str(error.value).startswith(str(tmp_path / name)) and '\n' not in str(error.value)
  assert not re.search(PYTHON, str(error.value).removeprefix(str(tmp_path)))
  assert len(str(error.value)) < len(str(tmp_path)) + 400 and capfd.readouterr() == ('', '')


def test_absent_and_unreadable_files(tmp_path):
  for path in (tmp_path / 'absent.glb', tmp_path / ('x' * 300 + '.glb')):
    with pytest.raises(MeshError):
      mesh_io.read(path)
  (tmp_path / 'folder.glb').mkdir()
  os.mkfifo(tmp_path / 'pipe.glb')
  for name in ('folder.glb', 'pipe.glb'):
    with pytest.raises(MeshError, match='not a file'):
      mesh_io.read(tmp_path / name)


def test_files_that_may_not_be_opened(tmp_path, monkeypatch):
  """Simulated, for root may open everything: the reading fails, or looking whether it is there."""
  (tmp_path / 'a.stl').write_bytes(b'')
  def refuse(*_, **__):
    raise PermissionError(13, 'Permission denied')
  for method in ('read_bytes', 'exists'):
    with monkeypatch.context() as patch:
      patch.setattr(pathlib.Path, method, refuse)
      with pytest.raises(MeshError, match='a.stl: Permission denied'):
        mesh_io.read(tmp_path / 'a.stl')


@pytest.mark.parametrize('kind', mesh_io.READABLE)
def test_names_that_are_not_utf8(kind, tmp_path):
  path = os.fsdecode(os.fsencode(tmp_path) + b'/b\xe4r.' + kind.encode())
  with open(path, 'wb') as file:
    file.write(GOOD[f'a.{kind}'])
  assert len(mesh_io.read(path).faces) == (1 if kind == 'gltf' else 12)
  with open(path, 'wb') as file:
    file.write(b'ply')
  with pytest.raises(MeshError) as error:
    mesh_io.read(path)
  str(error.value).encode()


def test_files_under_a_wrong_name(tmp_path):
  """Only GLB and glTF are recognised by their contents."""
  for name, data in GOOD.items():
    for kind in mesh_io.READABLE:
      path = tmp_path / f'a.{kind}'
      path.write_bytes(data)
      if name.endswith(kind) or {name[2:], kind} == {'glb', 'gltf'}:
        assert len(mesh_io.read(path).faces) > 0
      else:
        with pytest.raises(MeshError):
          mesh_io.read(path)


@pytest.mark.parametrize('kind', ['obj', 'off', 'ply', 'stl'])
@pytest.mark.parametrize('size', [1e30, 1e-30])
def test_absurd_sizes_are_bodies(kind, size, tmp_path):
  """Of size 1 after scaling; one absurd vertex alone leaves nothing that has a volume."""
  surface = trimesh.creation.box((1.0, 0.5, 0.25))
  text = lambda scale: trimesh.Trimesh(surface.vertices * scale, surface.faces, process=False
                                       ).export(file_type=kind, **OPTIONS.get(kind, {}))
  write = lambda data: (tmp_path / f'a.{kind}').write_bytes(
      data if isinstance(data, bytes) else data.encode())
  write(text(size))
  result = body.from_mesh(mesh_io.read(tmp_path / f'a.{kind}'))
  np.testing.assert_allclose((result.scale * size, result.mass), (1, 125), rtol=1e-5)
  write(text([(1e30, 1, 1)] + [(1, 1, 1)] * 7))
  with pytest.raises(MeshError, match='flat'):
    body.from_mesh(mesh_io.read(tmp_path / f'a.{kind}'))


@pytest.mark.parametrize('name, data', [
    ('good.glb', glb()), ('good.gltf', gltf()), ('data.glb', glb(blob=b'', buffers=[
        {'byteLength': 36, 'uri': INSIDE}],
        bufferViews=[{'buffer': 0, 'byteLength': 36}]))])
def test_valid_files_of_the_corpus_are_readable(name, data, tmp_path):
  """The broken ones differ from these by one change."""
  (tmp_path / name).write_bytes(data)
  np.testing.assert_array_equal(mesh_io.read(tmp_path / name, up='z').vertices, TRIANGLE)


def test_no_other_file_is_opened(tmp_path, monkeypatch):
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
  (folder / 'b.gltf').write_bytes(gltf(images=[{'uri': '../secret.mtl'}], buffers=[
      {'uri': INSIDE, 'byteLength': 36}, {'uri': '../secret.mtl', 'byteLength': 9}]))
  (folder / 'b.glb').write_bytes(glb(images=[{'uri': '../secret.mtl'}, {'uri': 'http://a/b.png'}]))
  opened = []
  sys.addaudithook(lambda event, args: opened.append((event, args[0]))
                   if event in ('open', 'socket.connect', 'socket.getaddrinfo') else None)
  monkeypatch.setattr(socket, 'socket', None)
  for path in sorted(folder.iterdir()):
    opened.clear()
    assert len(mesh_io.read(path).faces) == 1
    assert {str(name) for _, name in opened if 'cache' not in str(name)} <= {str(path)}


def flipped(data, random):
  """The data with bytes changed, cut off, left out or repeated."""
  data = bytearray(data)
  start, end = sorted(random.integers(len(data), size=2))
  match random.integers(4):
    case 0:
      data[start] = random.integers(256)
      data[end] = random.integers(256)
    case 1:
      del data[end:]
    case 2:
      del data[start:end]
    case 3:
      data[start:start] = data[start:end]
  return bytes(data)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason='reads /proc')
def test_corpus_needs_little_memory(tmp_path):
  """Each broken file, and 60 damaged copies of each good one, in one process whose address space
  may grow by 1 GB at most; a damaged copy that can still be read gives valid arrays, and a body or
  a MeshError."""
  (tmp_path / 'broken').mkdir()
  (tmp_path / 'damaged').mkdir()
  for name, data in BROKEN.items():
    (tmp_path / 'broken' / name).write_bytes(data)
  random = np.random.default_rng(0)
  for name, data in GOOD.items():
    for i in range(60):
      (tmp_path / 'damaged' / f'{i}.{name}').write_bytes(flipped(data, random))
  code = '''
import pathlib, resource
import numpy as np
from jax3dgen.core.errors import MeshError
from jax3dgen.export import mesh_io
from jax3dgen.physics import body
size = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**30,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(pathlib.Path('broken').iterdir()):
  try:
    mesh_io.read(path)
    raise SystemExit(f'{path} was read')
  except MeshError:
    pass
count = 0
for path in sorted(pathlib.Path('damaged').iterdir()):
  try:
    mesh = mesh_io.read(path)
    assert np.isfinite(mesh.vertices).all() and 0 <= mesh.faces.min(), path
    assert mesh.faces.max() < len(mesh.vertices), path
    result = body.from_mesh(mesh)
    assert np.isfinite(result.inertia).all() and result.mass > 0, path
    count += 1
  except MeshError:
    pass
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
'''
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=300,
                        cwd=tmp_path, env=os.environ | {'PYTHONPATH': str(ROOT)}, check=False)
  assert done.returncode == 0, done.stderr + done.stdout
  count, growth = map(int, done.stdout.split())
  assert count > 20 and growth < 400_000  # KiB
  assert sorted(os.listdir(tmp_path)) == ['broken', 'damaged']  # no library left a log

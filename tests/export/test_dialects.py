"""Dialects of mesh files, files that are something else, and meshes far from the origin.

The mesh is a tower of 1 x 1 x 2: volume 2, centre of mass (0.5, 0.5, 1).
"""

import codecs

import numpy as np
import pytest

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io, sweep_tables
from jax3dgen.physics import body, native

TOWER = np.array([(x, y, z) for z in (0, 2) for y in (0, 1) for x in (0, 1)], float)
SIDES = np.array([(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (1, 3, 7, 5), (3, 2, 6, 7),
                  (2, 0, 4, 6)])
FACES = np.concatenate([SIDES[:, (0, 1, 2)], SIDES[:, (0, 2, 3)]])
RING = (4, 0, 5, 1, 7, 3, 6, 2, 4, 0)  # the four sides as one strip; the strips of both ends:
STRIPS = [RING, *((a, b, d, c) for a, b, c, d in SIDES[:2].tolist())]


def rows(items, before='', after='\n'):
  return ''.join(f'{before}{" ".join(map(str, item))}{after}' for item in items)


def obj(points=TOWER):
  return rows(points.tolist(), 'v ') + rows(1 + SIDES, 'f ')


def off(points=TOWER, head='OFF\n8 12 0\n', between=' ', after='\n'):
  return head + rows(points.tolist()) + rows(
      (3, *face) for face in FACES).replace(' ', between).replace('\n', after)


def stl(points=TOWER, name='a', end='endsolid'):
  return f'solid {name}\n' + ''.join(
      f'facet normal 0 0 0\nouter loop\n{rows(points[face].tolist(), "vertex ")}endloop\nendfacet\n'
      for face in FACES) + f'{end} {name}\n'


def ply_text(points=TOWER, kind='double'):
  axes = rows('xyz', f'property {kind} ')
  return (f'ply\nformat ascii 1.0\nelement vertex 8\n{axes}element face 12\n'
          'property list uchar int vertex_indices\nend_header\n' + rows(points.tolist())
          + rows((3, *face) for face in FACES))


def ply_binary(order='<', points=TOWER, kind='f8'):
  form = {'<': 'binary_little_endian', '>': 'binary_big_endian'}[order]
  head = ply_text(kind={'f8': 'double', 'f4': 'float'}[kind]).partition('end_header\n')[0]
  head = head.replace('ascii', form) + 'end_header\n'
  table = np.zeros(12, [('size', 'u1'), ('corner', order + 'i4', 3)])
  table['size'], table['corner'] = 3, FACES
  return head.encode() + points.astype(order + kind).tobytes() + table.tobytes()


def strips(order=None):
  """Stanford's: the ring in one row, both ends in another one, with -1 between and behind them."""
  table = [(len(RING), *RING), (10, *STRIPS[1], -1, *STRIPS[2], -1)]
  head = (ply_binary(order) if order else ply_text().encode()).partition(b'element face')[0]
  head += b'element tristrips 2\nproperty list int int vertex_indices\nend_header\n'
  if not order:
    return head + (rows(TOWER.tolist()) + rows(table)).encode()
  numbers = np.array([number for row in table for number in row], order + 'i4')
  return head + TOWER.astype(order + 'f8').tobytes() + numbers.tobytes()


def solid(tmp_path, kind, data):
  path = tmp_path / f'a.{kind}'
  path.write_bytes(data if isinstance(data, bytes) else data.encode())
  return body.from_mesh(mesh_io.read(path), density=1.0)


NAMES = ('six vertex test body v2', 'facet', 'the endsolid of vertex 1 2 3', 'outer loop',
         'endloop endfacet', 'solid', '\u00e4 \u65e5')
DIALECTS = {
    'obj': ('obj', obj()),
    'obj mark': ('obj', codecs.BOM_UTF8 + obj().encode()),
    'obj mark and a spare vertex': ('obj', codecs.BOM_UTF8 + b'v 9 9 9\n' + (
        rows(TOWER.tolist(), 'v ') + rows(2 + SIDES, 'f ')).encode()),
    'obj UTF-16': ('obj', obj().encode('utf-16')),
    'obj UTF-16, big': ('obj', codecs.BOM_UTF16_BE + obj().encode('utf-16-be')),
    'obj continued': ('obj', obj().replace(' 3', ' \\\n3')),
    'obj continued with CR LF': ('obj', obj().replace(' 3', ' \\\n3').replace('\n', '\r\n')),
    'obj continued with CR': ('obj', obj().replace(' 3', ' \\\n3').replace('\n', '\r')),
    'obj weights of rational curves': ('obj', rows(TOWER.tolist(), 'v ', ' 2\n') + rows(
        1 + SIDES, 'f ')),
    'off': ('off', off()),
    'off over lines': ('off', off(between='\n')),
    'off in one line for each count': ('off', off(head='OFF\n8\n12\n0\n')),
    'off in one line': ('off', off(head='off 8 12 0 ', after=' ').replace('\n', ' ')),
    'off faces in one line': ('off', 'OFF\n8 12 0\n' + rows(TOWER.tolist()) + ' '.join(
        f'3 {a} {b} {c}' for a, b, c in FACES)),
    'off counts behind the word': ('off', off(head='OFF 8 12 0\n')),
    'off counts without edges': ('off', off(head='OFF\n8 12\n')),
    'off comments': ('off', off(between=' # 9 9\n', after=' # 9\n')),
    'off two vertices a line': ('off', 'OFF\n8 12 0\n' + rows(TOWER.reshape(4, 6).tolist()) + rows(
        (3, *face) for face in FACES)),
    'off colours': ('off', 'COFF\n8 12 0\n' + rows(TOWER.tolist(), after=' 0 .5 1 1\n') + rows(
        ((3, *face) for face in FACES), after=' 255 0 0\n')),
    'off colours over lines': ('off', 'COFF\n8 12 0\n' + rows(
        TOWER.tolist(), after='\n0 .5\n1 1 ') + rows(
            ((f'3\n{face[0]}', *face[1:]) for face in FACES), after=' .2 .3 .4\n')),
    'off normals': ('off', 'NOFF\n8 12 0\n' + rows(TOWER.tolist(), after=' 0 0 1\n') + rows(
        (3, *face) for face in FACES)),
    'ply mark': ('ply', codecs.BOM_UTF8 + ply_text().encode()),
    'ply UTF-16': ('ply', ply_text().encode('utf-16')),
    'ply letters': ('ply', ply_text().replace('ply\n', 'ply\ncomment \xc5\x1c\x85 \u2028 b\n')),
    'ply CR': ('ply', ply_text().replace('\n', '\r')),
    'ply binary, header with CR': ('ply', ply_binary().replace(b'\n', b'\r')),
    'ply binary, byte behind': ('ply', ply_binary() + b'\7'),
    'ply binary, zeros behind': ('ply', ply_binary() + bytes(130)),
    'ply strips': ('ply', strips('<')), 'ply strips, big': ('ply', strips('>')),
    'ply strips as text': ('ply', strips()),
    'stl mark': ('stl', codecs.BOM_UTF8 + stl().encode()),
    'stl UTF-16': ('stl', stl().encode('utf-16')),
    'stl CR': ('stl', stl().replace('\n', '\r')),
    'stl upper case': ('stl', stl().upper()),
    'stl comment': ('stl', '; made by a slicer, facet by facet\n' + stl()),
    'stl two solids': ('stl', stl().replace('endfacet\n', 'endfacet\nendsolid a\nsolid vertex\n')),
    'stl zeros behind': ('stl', stl() + '\0' * 99),
} | {f'stl {name}': ('stl', stl(name=name)) for name in NAMES}


@pytest.mark.parametrize('name', DIALECTS)
def test_dialects_are_read(name, tmp_path):
  result = solid(tmp_path, *DIALECTS[name])
  assert result.status == 'exact'
  np.testing.assert_allclose(result.mass, 2, rtol=1e-9)
  np.testing.assert_allclose(result.center, (0.5, 0.5, 1), atol=1e-9)


LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1234\n'
SPLAT = ply_binary(kind='f4').partition(b'element face')[0] + b''.join(
    b'property float %s\n' % name for name in (b'f_dc_0', b'opacity', b'scale_0', b'rot_0')
    ) + b'end_header\n' + bytes(8 * 28)
OTHER = {
    'Git LFS pointer.*run `git lfs pull`': LFS,
    'HTML page': b'<!DOCTYPE html><html>403</html>',
    'an HTML page': b'\xef\xbb\xbf\n<?xml version="1.0"?><!-- a --><html lang="en">no</html>',
    'nothing but zeros': bytes(5000), 'is empty': b'', 'Gaussian splat': SPLAT,
    'URDF': b'<?xml version="1.0"?>\n<!-- arm -->\n<robot name="r"><link name="l"/></robot>'}


@pytest.mark.parametrize('kind', mesh_io.READABLE)
@pytest.mark.parametrize('words', OTHER)
def test_other_files_are_named_whatever_their_suffix(words, kind, tmp_path):
  with pytest.raises(MeshError, match=words):
    solid(tmp_path, kind, OTHER[words])


@pytest.mark.parametrize('kind, data, words', [
    ('obj', obj().replace('v 1.0', 'v 1,0'), "'1,0' has a decimal comma"),
    ('stl', stl().replace('vertex 1.0', 'vertex -1,5e3'), "'-1,5e3' has a decimal comma"),
    ('off', off().replace('1.0', '1,0'), "'1,0' has a decimal comma"),
    ('ply', ply_text().replace('1.0 ', '1,0 '), "'1,0' has a decimal comma"),
    ('obj', obj().replace('v 1.0', 'v 1_0.0'), "invalid at '1_0.0"),
    ('off', off().replace('1.0', '1_0.0'), 'truncated'),
    ('ply', ply_text().replace('\n1.0', '\n1_0.0'), "invalid at '1_0.0"),
    ('stl', stl().replace('vertex 1.0', 'vertex 1_0.0'), "invalid at '1_0.0"),
    ('obj', obj() + 'f 1 2\n', 'fewer than three corners'),
    ('obj', obj().encode('utf-16-le'), 'zero bytes'),
    ('off', b'OFF BINARY\n\0\0', 'binary OFF'), ('off', off() + '3 0 1 2\n', 'truncated'),
    ('off', off().replace('8 12', '7 12'), 'truncated'), ('off', off()[:-9], 'truncated'),
    ('off', 'OFF\n', 'truncated'), ('off', off(between='\n')[:-4], 'truncated'),
    ('ply', ply_text() + '3 0 1 2\n', 'more rows'), ('ply', ply_binary('>') + bytes(
        [3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]), 'more rows'),
    ('ply', ply_text().replace('vertex 8', 'vertex 7'), 'invalid at'),
    ('ply', ply_text().replace('property double z\n', ''), 'a row has 3'),
    ('ply', ply_text().replace('double z', 'double w'), 'x, y and z'),
    ('ply', ply_text().replace('double z', 'triple z'), "line 'property triple z'"),
    ('ply', ply_text().replace('ascii', 'binary'), 'none of the formats'),
    ('stl', stl().replace('endfacet', '', 1), 'truncated'),
    ('stl', stl().replace('vertex 0.0 0.0 0.0\n', '', 1), 'truncated'),
    ('stl', stl().replace('vertex 0.0 0.0 0.0', 'vertex 0.0 0.0', 1), 'invalid at'),
    ('stl', b'x' * 80 + b'\1\0\0\0' + bytes(99) + b'\1', 'claims 1 faces, but has 2'),
    ('obj', obj().replace('2.0', '1e39'), 'beyond 1e.38'),
    ('obj', obj().replace('2.0', '1e-40').replace('1.0', '1e-40'), 'beyond')])
def test_faults_are_named(kind, data, words, tmp_path):
  with pytest.raises(MeshError, match=words) as error:
    solid(tmp_path, kind, data)
  assert str(error.value).startswith(str(tmp_path))


def test_a_lack_of_memory_is_no_damage(tmp_path, monkeypatch):
  def refuse(*_):
    raise MemoryError
  monkeypatch.setitem(mesh_io.POLYGONS, 'obj', refuse)
  with pytest.raises(MeshError, match='not enough memory'):
    solid(tmp_path, 'obj', obj())


def test_colours_of_255(tmp_path):
  (tmp_path / 'a.obj').write_text(rows(TOWER.tolist(), 'v ', ' 200 30 0\n') + rows(1 + SIDES, 'f '))
  colors = mesh_io.read(tmp_path / 'a.obj').colors
  np.testing.assert_allclose(colors, np.tile((200 / 255, 30 / 255, 0), (8, 1)), rtol=1e-6)


FAR = {'obj': obj, 'off': off, 'ply': ply_text, 'stl': stl,
       'ply binary': lambda points: ply_binary('>', points)}


@pytest.mark.parametrize('distance', [1e4, 1e6, 1e8])
@pytest.mark.parametrize('name', FAR)
def test_meshes_far_from_the_origin_keep_their_shape(name, distance, tmp_path):
  """As in survey coordinates: what 64-bit numbers hold, which is 1e-8 of a unit at 1e8."""
  place = distance * np.array([1, -0.7, 0.3])
  result = solid(tmp_path, name[:3], FAR[name](TOWER + place))
  assert result.status == 'exact'
  np.testing.assert_allclose(result.mass, 2, rtol=1e-7)
  np.testing.assert_allclose(result.center - place, (0.5, 0.5, 1), atol=1e-7)
  np.testing.assert_allclose(np.diag(result.inertia), np.array([5, 5, 2]) / 6, rtol=1e-6)


@pytest.mark.parametrize('kind', ['glb', 'obj', 'ply', 'xml'])
def test_meshes_far_from_the_origin_are_written_with_their_shape(kind, tmp_path):
  place = 1e6 * np.array([1, -0.7, 0.3])
  mesh_io.write(tmp_path / f'a.{kind}', Mesh(TOWER + place, FACES))
  result = body.from_mesh(mesh_io.read(tmp_path / f'a.{kind}'), density=1.0)
  np.testing.assert_allclose(result.mass, 2, rtol=1e-7)
  expected = (0.5, 0.5, 1 - (kind == 'xml') * place[2])  # MJCF puts the mesh on its plane
  np.testing.assert_allclose(result.center - place, expected, atol=1e-6)


def test_stl_of_a_mesh_far_from_the_origin_is_refused(tmp_path):
  with pytest.raises(MeshError, match='too far'):
    mesh_io.write(tmp_path / 'a.stl', Mesh(TOWER + 1e6, FACES))
  assert not list(tmp_path.iterdir())


def test_small_meshes_are_written_with_their_shape(tmp_path):
  for kind in ('glb', 'obj', 'ply', 'stl'):
    mesh_io.write(tmp_path / f'a.{kind}', Mesh(TOWER * 1e-9, FACES))
    result = body.from_mesh(mesh_io.read(tmp_path / f'a.{kind}'), density=1.0)
    np.testing.assert_allclose(result.mass, 0.25, rtol=1e-6)  # of extent 1


def test_a_sweep_far_from_the_origin(tmp_path):
  """Volume and centre of mass in the table, and the released poses, are those near the origin."""
  for mode in ('none', 'unit_cube', 'dso'):
    (tmp_path / 'a.obj').write_text(obj(TOWER + 1e6))
    [item] = sweep_tables.examine(tmp_path / 'a.obj', 'a', mode=mode)
    np.testing.assert_allclose(item.volume, 2, rtol=1e-7)
    np.testing.assert_allclose(item.center - 1e6, (0.5, 0.5, 1), atol=1e-6)
    (tmp_path / 'b.obj').write_text(obj())
    [near] = sweep_tables.examine(tmp_path / 'b.obj', 'b', mode=mode)
    np.testing.assert_allclose(item.hull, near.hull, atol=1e-6)
    np.testing.assert_allclose(item.points, near.points, atol=1e-6)
    assert item.picture == near.picture
    drop = native.drop(item.body, seconds=0.5, fps=30)
    assert drop.stable and drop.settled

"""Solids read from MuJoCo XML against closed forms, and files that MuJoCo must not open."""

import os
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io, mjcf
from jax3dgen.physics import body


def read(tmp_path, text):
  path = tmp_path / 'model.xml'
  path.write_text(text)
  return mesh_io.read(path)


def world(elements, assets='', options=''):
  return f'<mujoco>{options}<asset>{assets}</asset><worldbody>{elements}</worldbody></mujoco>'


def figures(mesh):
  result = body.from_mesh(mesh, density=1.0)
  return result.mass, result.center / result.scale


TETRAHEDRON = 'vertex="0 0 0  1 0 0  0 1 0  0 0 1" face="0 2 1  0 1 3  1 2 3  0 3 2"'
SHAPES = [  # of size about 1, volume, relative error of the inscribed polyhedron
    ('type="box" size="0.5 0.6 0.7"', 8 * 0.5 * 0.6 * 0.7, 1e-5),
    ('type="sphere" size="0.5"', np.pi / 6, 3e-3),
    ('type="ellipsoid" size="0.5 0.6 0.7"', 4 / 3 * np.pi * 0.5 * 0.6 * 0.7, 3e-3),
    ('type="cylinder" size="0.5 0.6"', np.pi * 0.25 * 1.2, 1e-3),
    ('type="capsule" size="0.5 0.6"', np.pi * 0.25 * 1.2 + np.pi / 6, 3e-3),
    ('type="mesh" mesh="t"', 1 / 6, 1e-5),
]


@pytest.mark.parametrize('shape, volume, tolerance', SHAPES,
                         ids=[s[0].split('"')[1] for s in SHAPES])
def test_shapes_have_their_volume_and_lie_in_their_place(shape, volume, tolerance, tmp_path):
  """Turned and moved by a body and by the geom itself; a round shape never exceeds its own."""
  result = read(tmp_path, world(
      f'<body pos="1 2 3" euler="0 0 90"><geom {shape} pos="0.1 0.2 0.3" quat="1 1 0 0"/></body>',
      f'<mesh name="t" {TETRAHEDRON}/>'))
  inner, outer = Rotation.from_quat([1, 0, 0, 1]), Rotation.from_euler('z', 90, degrees=True)
  middle = (0.25, 0.25, 0.25) if 'mesh' in shape else (0, 0, 0)
  mass, center = figures(result)
  assert volume * (1 - tolerance) < mass < volume * (1 + 1e-5)
  np.testing.assert_allclose(
      center, outer.apply(inner.apply(middle) + (0.1, 0.2, 0.3)) + (1, 2, 3), atol=1e-5)
  if 'size' in shape and 'sphere' not in shape:
    half = np.fromstring(shape.split('"')[3], sep=' ')
    reach = {'box': half, 'ellipsoid': half, 'cylinder': half[[0, 0, -1]],
             'capsule': (half[0], half[0], half.sum())}[shape.split('"')[1]]
    extent = np.abs(outer.apply(inner.apply(np.diag(2 * np.array(reach))))).max(0)
    np.testing.assert_allclose(np.ptp(result.vertices, 0), extent, rtol=2e-3)


def test_classes_frames_radians_and_scales(tmp_path):
  """Poses by default classes, frames, radians, `fromto` and mesh scales."""
  result = read(tmp_path, world(
      '<frame pos="5 0 0"><body childclass="b" euler="0 0 1.5707963"><geom pos="1 0 0"/></body>'
      '</frame><geom type="cylinder" size="0.1" fromto="0 0 0 0 0 2" class="main"/>'
      '<geom type="mesh" mesh="t" pos="-5 0 0"/>',
      f'<mesh name="t" {TETRAHEDRON} scale="1 -2 1"/>',
      '<compiler angle="radian"/><default><default class="b"><geom type="box" size="0.5 0.1 0.1"/>'
      '</default></default>'))
  label = trimesh.Trimesh(result.vertices, result.faces, process=False).split(only_watertight=True)
  box, rod, tetrahedron = sorted(label, key=lambda part: -part.bounds[0, 0])
  np.testing.assert_allclose(box.bounds, [(4.9, 0.5, -0.1), (5.1, 1.5, 0.1)], atol=1e-6)
  np.testing.assert_allclose(rod.bounds[:, 2], (0, 2), atol=1e-6)
  np.testing.assert_allclose(tetrahedron.bounds, [(-5, -2, 0), (-4, 0, 1)], atol=1e-6)
  assert min(part.volume for part in label) > 0  # the mirrored one is wound outwards as well


def test_visual_geoms_come_before_collision_geoms(tmp_path):
  """Ground is left out; collision geoms count only in files without visual ones."""
  ground = '<geom type="plane" size="9 9 1"/>'
  visual, collision = '<geom type="box" size="1 1 1"/>', '<geom type="box" size="2 2 2" group="3"/>'
  assert np.ptp(read(tmp_path, world(ground + visual + collision)).vertices) == 2
  assert np.ptp(read(tmp_path, world(ground + collision)).vertices) == 4
  with pytest.raises(MeshError, match='no faces'):
    read(tmp_path, world(ground))


def test_a_mesh_without_faces_is_its_hull(tmp_path):
  points = trimesh.creation.box().vertices
  elements = np.concatenate([points, 0.1 * points])
  numbers = ' '.join(map(str, elements.ravel()))
  result = read(tmp_path, world('<geom type="mesh" mesh="a"/>',
                               f'<mesh name="a" vertex="{numbers}"/>'))
  np.testing.assert_allclose(figures(result)[0], 1.0, rtol=1e-6)


def test_round_trip(tmp_path):
  surface = trimesh.creation.torus(0.6, 0.2, major_sections=24, minor_sections=12)
  mesh = Mesh(np.float32(surface.vertices) + np.float32((0.1, 0.2, 0.7)),
              np.int32(surface.faces), np.full((len(surface.vertices), 3), 0.25, np.float32))
  mesh_io.write(tmp_path / 'torus.xml', mesh)
  result = mesh_io.read(tmp_path / 'torus.xml')
  np.testing.assert_array_equal(result.faces, mesh.faces)
  shift = (result.vertices - mesh.vertices).mean(0)  # it stands on the plane
  np.testing.assert_allclose(result.vertices - shift, mesh.vertices, atol=1e-6)
  np.testing.assert_allclose([*shift[:2], result.vertices[:, 2].min()], 0, atol=1e-6)
  np.testing.assert_allclose(result.colors, 0.25)


def test_flat_and_open_meshes_are_read(tmp_path):
  """physics.body decides whether they are solids."""
  sheet = 'vertex="0 0 0  1 0 0  0 1 0  1 1 0" face="0 1 2  1 3 2"'
  result = read(tmp_path, world('<geom type="mesh" mesh="a"/>', f'<mesh name="a" {sheet}/>'))
  assert len(result.faces) == 2
  with pytest.raises(MeshError, match='flat'):
    body.from_mesh(result)


INVALID = {
    'file': world('<geom type="mesh" mesh="a"/>', '<mesh name="a" file="../secret.stl"/>'),
    'absolute': world('<geom type="mesh" mesh="a"/>', '<mesh name="a" file="/etc/passwd"/>'),
    'builtin': world('<geom type="mesh" mesh="a"/>',
                     '<mesh name="a" builtin="sphere" params="4"/>'),
    'include': world('<include file="../secret.xml"/>'),
    'model': world('', '<model name="a" file="../secret.xml"/>'),
    'attach': world('<attach model="a" body="b" prefix="c"/>'),
    'replicate': world('<replicate count="1000000000"><geom size="1"/></replicate>'),
    'composite': world('<body><composite type="cable" count="1000 1 1"/></body>'),
    'entity': '<!DOCTYPE mujoco [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + world('&a;'),
    'laughs': '<!DOCTYPE mujoco [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + world('&b;'),
    'geoms': world('<geom size="1"/>' * 10001), 'tags': world('<site/>' * 300000),
    'deep': world('<body>' * 3000 + '</body>' * 3000), 'urdf': '<robot name="a"/>',
    'sdf': world('<geom type="sdf" mesh="t"/>', f'<mesh name="t" {TETRAHEDRON}/>'),
    'size': world('<geom type="sphere" size="0"/>'), 'nan': world('<geom size="nan"/>'),
    'place': world('<geom size="1" pos="0 0 1e300"/>'),
    'index': world('<geom type="mesh" mesh="a"/>',
                   '<mesh name="a" vertex="0 0 0 1 0 0 0 1 0 0 0 1" face="0 1 99999999"/>'),
    'number': world('<geom type="mesh" mesh="a"/>', '<mesh name="a" vertex="0 0 x"/>'),
    'inf': world('<geom type="mesh" mesh="a"/>',
                 '<mesh name="a" vertex="0 0 0 1 0 0 0 1 0 0 0 inf" face="0 1 2"/>'),
    'ground': world('<geom type="plane" size="1 1 1"/>'), 'empty': '', 'cut': world('')[:-9],
}


@pytest.mark.parametrize('name', INVALID)
def test_invalid_files_raise_one_error(name, tmp_path, monkeypatch, capfd):
  monkeypatch.chdir(tmp_path)  # where MuJoCo would leave its log
  with pytest.raises(MeshError) as error:
    read(tmp_path, INVALID[name])
  assert '\n' not in str(error.value) and len(str(error.value)) < 600
  assert os.listdir() == ['model.xml'] and capfd.readouterr() == ('', '')


def test_no_other_file_is_opened(tmp_path):
  """Textures, height fields, plugins and skins stay where they are; the solid is read."""
  for name in ('secret.png', 'secret.bin', 'secret.xml'):
    (tmp_path / name).write_bytes(b'secret')
  text = world(
      '<geom type="box" size="1 1 1" material="m"/><geom type="hfield" hfield="h"/>'
      '<body><plugin plugin="mujoco.elasticity.cable"/><geom size="1"/></body>',
      '<texture name="x" type="2d" file="secret.png"/><material name="m" texture="x"/>'
      '<hfield name="h" file="secret.bin" size="1 1 1 1"/>',
      '<compiler meshdir="/etc" texturedir="http://127.0.0.1:9/"/>'
      '<extension><plugin plugin="mujoco.sensor.touch_grid"/></extension>')
  opened = []
  sys.addaudithook(lambda event, args: opened.append(str(args[0]))
                   if event in ('open', 'socket.connect', 'socket.getaddrinfo') else None)
  assert len(read(tmp_path, text).faces) == 12 + 5120
  assert [path for path in opened if 'secret' in path] == []
  compiled = mjcf._geometry(text.encode())  # no audit hook sees what MuJoCo opens
  assert not any(word in compiled for word in ('secret', 'file', 'plugin', 'dir=', 'material'))

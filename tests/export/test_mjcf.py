"""Bodies read from MuJoCo XML against closed forms and MuJoCo's own simulation of the file, and
files that must not be opened."""

import os
import sys

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io, sweep_tables
from jax3dgen.export.mjcf import text as mjcf_text
from jax3dgen.physics import body, native


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
      '</frame><body><geom type="cylinder" size="0.1" fromto="0 0 0 0 0 2" class="main"/>'
      '<geom type="mesh" mesh="t" pos="-5 0 0"/></body>',
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
  with pytest.raises(MeshError, match='no solid'):
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


def test_an_open_surface_is_read_and_a_flat_one_is_refused_by_mujoco(tmp_path):
  cup = TETRAHEDRON.replace('face="0 2 1 ', 'face="')
  assert len(read(tmp_path, world('<geom type="mesh" mesh="a"/>', f'<mesh name="a" {cup}/>')).faces)
  sheet = 'vertex="0 0 0  1 0 0  0 1 0  1 1 0" face="0 1 2  1 3 2"'
  with pytest.raises(MeshError, match='volume is too small'):
    read(tmp_path, world('<geom type="mesh" mesh="a"/>', f'<mesh name="a" {sheet}/>'))


INVALID = {
    'file': world('<geom type="mesh" mesh="a"/>', '<mesh name="a" file="../secret.stl"/>'),
    'absolute': world('<geom type="mesh" mesh="a"/>', '<mesh name="a" file="/etc/passwd"/>'),
    'drive': world('<geom type="mesh" mesh="a"/>', '<mesh name="a" file="C:/a.stl"/>'),
    'missing': world('<geom type="mesh" mesh="a"/>', '<mesh name="a" file="no.stl"/>'),
    'kind': world('<geom type="mesh" mesh="a"/>', '<mesh name="a" file="model.xml"/>'),
    'meshdir': world('<geom type="mesh" mesh="a"/>', '<mesh name="a" file="a.stl"/>',
                     '<compiler meshdir="/etc"/>'),
    'builtin': world('<geom type="mesh" mesh="a"/>',
                     '<mesh name="a" builtin="supersphere" params="5000 1 1"/>'),
    'include': world('<include file="../secret.xml"/>'), 'itself': '<include file="model.xml"/>',
    'loop': world('<include file="model.xml"/>'), 'plugin': world(
        '<body><plugin plugin="mujoco.elasticity.cable"/><geom size="1"/></body>'),
    'extension': world('<geom size="1"/>', options='<extension/>'),
    'flex': world('', options='<deformable><flex name="a"/></deformable>'),
    'attribute': world('<body><geom size="1" mas="2"/></body>'),
    'massless': world('<body><freejoint/><geom size="1" mass="0"/></body>'),
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
    'parameter': world('<geom type="mesh" mesh="a"/>',
                       '<mesh name="a" builtin="sphere" params="x"/>'),
    'points': world('<geom type="mesh" mesh="a"/>',
                    '<mesh name="a" vertex="0 0 0 1 0 0 0 1 0 0 0 1 5"/>'),
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


def test_a_mesh_file_without_points_is_named(tmp_path):
  (tmp_path / 'a.obj').write_text('# nothing')
  with pytest.raises(MeshError, match='MuJoCo does not read this.*vert'):
    read(tmp_path, world('<geom type="mesh" mesh="a"/>', '<mesh file="a.obj"/>'))


@pytest.mark.parametrize('name, words', [('points', 'multiple of 3'), ('parameter', 'no number')])
def test_invalid_numbers_are_named(name, words, tmp_path):
  with pytest.raises(MeshError, match=words):
    read(tmp_path, INVALID[name])


def test_no_other_file_is_opened(tmp_path):
  """Textures, height fields and skins stay where they are; the solid is read."""
  for name in ('secret.png', 'secret.bin', 'secret.xml'):
    (tmp_path / name).write_bytes(b'secret')
  text = world(
      '<geom type="box" size="1 1 1" material="m"/><geom type="hfield" hfield="h"/>'
      '<body><freejoint/><geom size="1"/></body>',
      '<texture name="x" type="2d" file="secret.png"/><material name="m" texture="x"/>'
      '<hfield name="h" file="secret.bin" size="1 1 1 1"/>',
      '<compiler texturedir="http://127.0.0.1:9/"/>'
      '<deformable><skin name="s" file="secret.skn"/></deformable>')
  opened = []
  sys.addaudithook(lambda event, args: opened.append(str(args[0]))
                   if event in ('open', 'socket.connect', 'socket.getaddrinfo') else None)
  mesh = read(tmp_path, text)
  assert len(mesh.faces) == 5120
  assert mesh.notes == ('height fields are left out', '1 geom outside the free bodies left out',
                        'masses are not read')
  assert [path for path in opened if 'secret' in path] == []
  compiled = mjcf_text.whole(text.encode(), tmp_path, 10**6).text  # no hook sees what MuJoCo opens
  assert not any(word in compiled for word in ('secret', 'file=', 'dir=', 'material', 'skin'))


def test_links_that_lead_outside_are_refused(tmp_path):
  (tmp_path / 'inner').mkdir()
  trimesh.creation.box().export(tmp_path / 'secret.stl')
  (tmp_path / 'inner' / 'a.stl').symlink_to(tmp_path / 'secret.stl')
  path = tmp_path / 'inner' / 'model.xml'
  path.write_text(world('<geom type="mesh" mesh="a"/>', '<mesh file="a.stl"/>'))
  with pytest.raises(MeshError, match='only files below its own folder'):
    mesh_io.read(path)
  path.write_text(world('<include file="b.xml"/>'))
  (tmp_path / 'inner' / 'b.xml').symlink_to(tmp_path / 'b.xml')
  with pytest.raises(MeshError, match='only files below its own folder'):
    mesh_io.read(path)


@pytest.mark.parametrize('name', ['robot.urdf', 'robot.xml', 'robot.obj', 'robot.xacro'])
def test_urdf_is_named_as_what_it_is(name, tmp_path):
  text = '<?xml version="1.0"?><!-- a robot -->\n<robot name="r"><link name="l"/></robot>'
  for data in (text.encode(), text.encode('utf-8-sig')):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(MeshError, match='URDF'):
      mesh_io.read(tmp_path / name)


LAMP = """<geom type="box" size=".12 .12 .03" pos="0 0 .03" mass="{base}"/>
<geom type="box" size=".02 .02 .3" pos="0 0 .36" mass=".2"/>
<geom type="box" size=".25 .08 .08" pos=".25 0 .66" mass=".3"/>"""
FLOOR = '<geom type="plane" size="0 0 1"/>'
FALLING = {  # name: the file, whether its body stands in MuJoCo
    'lamp with a heavy base': (f'{FLOOR}<body><freejoint/>{LAMP.format(base=5)}</body>', True),
    'lamp with a light base': (f'{FLOOR}<body><freejoint/>{LAMP.format(base=.05)}</body>', False),
    'leaner on a box': (
        '<geom type="box" size="2 2 .05" pos="0 0 -.05"/><body><freejoint/>'
        '<geom type="box" size=".05 .05 .3" pos="0 0 .3"/>'
        '<geom type="box" size=".2 .05 .05" pos=".2 0 .65"/></body>', False),
    'density': (
        f'{FLOOR}<body><freejoint/><geom type="box" size=".1 .1 .1" pos="0 0 .1" density="9000"/>'
        '<geom type="box" size=".3 .1 .1" pos=".3 0 .3" density="500"/></body>', True),
    'visual foot': (
        f'{FLOOR}<body><freejoint/><geom type="cylinder" size=".02 .3" pos=".2 0 .3"/>'
        '<geom type="box" size=".4 .4 .01" pos="0 0 .01" contype="0" conaffinity="0" mass=".01"/>'
        '<geom type="sphere" size=".1" pos="0 0 .7"/></body>', False),
    'child with a frozen arm': (
        f'{FLOOR}<body><freejoint/><geom type="cylinder" size=".1 .2" pos="0 0 .2" mass="1"/>'
        '<body pos="0 0 .4"><geom type="capsule" size=".02" fromto="0 0 0 .6 0 0" mass="4"/></body>'
        '</body>', False),
    'inertial': (
        f'{FLOOR}<body><freejoint/><inertial pos=".3 0 .3" mass="1" diaginertia=".1 .1 .1"/>'
        '<geom type="cylinder" size=".2 .3" pos="0 0 .3"/></body>', False),
    'ball with a low weight': (
        f'{FLOOR}<body><freejoint/><geom type="sphere" size=".3" pos="0 0 .3" mass="1"/>'
        '<geom type="sphere" size=".05" pos="0 0 .1" mass="5"/></body>', True),
}


@pytest.mark.parametrize('name', FALLING)
def test_a_body_tips_where_mujoco_tips_it(name, tmp_path):
  """MuJoCo simulates the file as it is: its primitives, masses, bits of contact, and floor."""
  elements, stands = FALLING[name]
  (tmp_path / 'model.xml').write_text(world(elements))
  model = mujoco.MjModel.from_xml_path(str(tmp_path / 'model.xml'))
  data = mujoco.MjData(model)
  mujoco.mj_step(model, data, nstep=2500)
  moved = native.rotation_deg(data.qpos[3:7])
  [solid] = mesh_io.read_solids(tmp_path / 'model.xml')
  drop = native.drop(body.of_points(*solid.body), seconds=5.0, timestep=2e-3)
  assert (moved < 20, drop.stable) == (stands, stands), (moved, drop.rotation_deg)
  if stands:
    assert drop.rotation_deg == pytest.approx(moved, abs=1.0)


def test_masses_are_those_that_mujoco_compiles(tmp_path):
  """Of a tree of bodies with frozen joints: the total mass, and the inertia by a loop of Steiner's
  theorem over MuJoCo's own bodies."""
  text = world(
      f'{FLOOR}<body name="b" pos="1 2 3" euler="10 20 30"><freejoint/>'
      '<geom type="ellipsoid" size=".2 .3 .4"/><body pos=".5 0 0" euler="0 40 0"><joint/>'
      '<geom type="capsule" size=".1 .2" density="300"/><geom type="mesh" mesh="t" mass="2"/>'
      '</body></body>', f'<mesh name="t" {TETRAHEDRON}/>',
      '<compiler settotalmass="7" balanceinertia="true"/>')
  (tmp_path / 'model.xml').write_text(text)
  [solid] = mesh_io.read_solids(tmp_path / 'model.xml')
  with native.quiet():
    model = mujoco.MjModel.from_xml_string(text)
  data = mujoco.MjData(model)
  mujoco.mj_forward(model, data)
  _, mass, center, inertia = solid.body
  assert mass == pytest.approx(7.0)
  np.testing.assert_allclose(center, data.subtree_com[1], atol=1e-9)
  total = np.zeros((3, 3))
  for k in (1, 2):
    turn, away = data.ximat[k].reshape(3, 3), data.xipos[k] - data.subtree_com[1]
    total += turn @ np.diag(model.body_inertia[k]) @ turn.T
    total += model.body_mass[k] * (away @ away * np.eye(3) - np.outer(away, away))
  np.testing.assert_allclose(inertia, total, atol=1e-9)
  assert solid.mesh.notes == ('1 joint frozen',)


def test_every_body_is_judged_by_itself(tmp_path):
  free = '<body name="{}" pos="{} 0 0"><freejoint/><geom type="box" size=".1 .1 {}"/></body>'
  text = world(free.format('a', 1, 0.2) + free.format('b', 2, 0.3)
               + '<body><geom size="1"/></body><geom type="box" size="1 1 1"/>')
  (tmp_path / 'model.xml').write_text(text)
  a, b = mesh_io.read_solids(tmp_path / 'model.xml')
  assert (a.name, b.name) == ('a', 'b')
  np.testing.assert_allclose((a.body[1], b.body[1]), (16.0, 24.0))
  for solid in (a, b):
    assert solid.mesh.notes == ('2 geoms outside the free bodies left out',
                                'one of 2 bodies of the file')
  items = sweep_tables.examine(tmp_path / 'model.xml', 'model.xml')
  assert [item.name for item in items] == ['model.xml#a', 'model.xml#b']
  np.testing.assert_allclose([item.volume for item in items], (0.016, 0.024), rtol=1e-5)
  np.testing.assert_allclose([item.center for item in items], ((1, 0, 0), (2, 0, 0)), atol=1e-5)


def test_y_up_turns_body_and_mesh_alike(tmp_path):
  path = tmp_path / 'model.xml'
  path.write_text(world('<body><geom type="box" size=".1 .2 .3" pos="1 2 3"/></body>'))
  [solid] = mesh_io.read_solids(path, up='y')
  contact, _, center, inertia = solid.body
  np.testing.assert_allclose(solid.mesh.vertices.min(0), contact.min(0), atol=1e-6)
  np.testing.assert_allclose(center, (1, -3, 2))
  assert np.argsort(np.diag(inertia)).tolist() == [1, 2, 0]


NOTES = {
    'judged as a free body': '<body><geom size="1"/></body>',
    '1 geom without contact': '<body><freejoint/><geom size="1"/>'
                              '<geom size="2" contype="0" conaffinity="0"/></body>',
    'planes that are not level': '<geom type="plane" size="1 1 1" euler="5 0 0"/>'
                                 '<body><freejoint/><geom size="1"/></body>',
    'gravcomp': '<body gravcomp="1"><freejoint/><geom size="1"/></body>',
    'friction': '<body><freejoint/><geom size="1" friction="0.1"/></body>',
    'gravity or contact': '</worldbody><option><flag gravity="disable"/></option><worldbody>'
                          '<body><freejoint/><geom size="1"/></body>',
    'friction left': '<body><freejoint/><geom size="1" condim="1"/></body>',
    'contact margins': '<body><freejoint/><geom size="1" margin=".1"/></body>',
    'stiffness, damping': '<body><joint type="free" armature="1"/><geom size="1"/></body>',
    'maxhullvert': f'<body><freejoint/><geom type="mesh" mesh="t"/></body></worldbody><asset>'
                   f'<mesh name="t" maxhullvert="4" {TETRAHEDRON}/></asset><worldbody>',
    'gravity taken as': '</worldbody><option gravity="0 9.8 0"/><worldbody>'
                        '<body><freejoint/><geom size="1"/></body>',
}


@pytest.mark.parametrize('note', NOTES)
def test_what_is_ignored_leaves_a_note(note, tmp_path):
  assert any(note in text for text in read(tmp_path, world(NOTES[note])).notes)


def test_a_mesh_file_far_from_its_origin_leaves_a_note(tmp_path):
  shape = trimesh.creation.box(bounds=((1e5, 0, 0), (1e5 + 1, 1, 2)))
  (tmp_path / 'far.obj').write_text(trimesh.exchange.obj.export_obj(shape, digits=9))
  mesh = read(tmp_path, world('<geom type="mesh" mesh="far"/>', '<mesh file="far.obj"/>'))
  assert any('32-bit' in note for note in mesh.notes)


def test_geoms_of_the_world_are_a_body_beside_one_without_geoms(tmp_path):
  result = read(tmp_path, world('<body><camera/></body><geom type="box" size="1 1 1"/>'))
  np.testing.assert_allclose(figures(result)[0], 8.0)


def test_contact_is_decided_by_bits_and_pairs(tmp_path):
  """A geom that only meets geoms of the other kind does not touch a plane of the defaults; a pair
  of the file makes it touch."""
  geom = '<body><freejoint/><geom name="g" type="box" size="1 1 1" contype="2" conaffinity="2"/>'
  cases = {f'{geom}</body>': False, f'{FLOOR}{geom}</body>': False,
           f'<geom type="plane" size="1 1 1" contype="2"/>{geom}</body>': True}
  for text, touches in cases.items():
    (tmp_path / 'model.xml').write_text(world(text))
    [solid] = mesh_io.read_solids(tmp_path / 'model.xml')
    assert (len(solid.body[0]) > 0) == touches
  free = '<body><freejoint/><geom size="1"/></body>'
  # Geoms of the world alone; a floor in a body of its own.
  for text in (f'{FLOOR}<geom size="1"/>', f'<body>{FLOOR}</body>{free}'):
    (tmp_path / 'model.xml').write_text(world(text))
    [solid] = mesh_io.read_solids(tmp_path / 'model.xml')
    assert len(solid.body[0]) == 2562
  pair = '<contact><pair geom1="f" geom2="g"/></contact>'
  (tmp_path / 'model.xml').write_text(world(
      f'<geom name="f" type="plane" size="1 1 1"/>{geom}</body>', options=pair))
  assert len(mesh_io.read_solids(tmp_path / 'model.xml')[0].body[0]) == 8
  (tmp_path / 'model.xml').write_text(world(f'{geom}</body>'))
  [item] = sweep_tables.examine(tmp_path / 'model.xml', 'model.xml')
  assert 'collides with the ground' in item.error

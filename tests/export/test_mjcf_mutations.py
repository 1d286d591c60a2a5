"""Changes of an MJCF file that keep its meaning keep what is read; damage gives a sentence."""

import re

import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.export import mesh_io
from jax3dgen.physics import body

VERTEX = 'vertex="0 0 0 .4 0 0 0 .4 0 0 0 .4"'
FACE = 'face="0 2 1 0 1 3 1 2 3 0 3 2"'
MESH = f'<mesh name="t" {VERTEX} {FACE}/>'
DEFAULT = '''<default><geom density="700"/><default class="leg">
<geom type="box" size=".05 .06 .2" rgba="1 0 0 1"/></default></default>'''
LEG = '<geom class="leg" pos=".2 0 -.2"/>'
SEAT = '<geom name="seat" type="box" size=".3 .3 .1" mass="3"/>'
TURNED = '<geom type="mesh" mesh="t" pos="0 .1 .3" euler="0 0 90"/>'
ARM = '''<body name="arm" pos="0 0 .2" euler="0 0 45"><joint axis="0 1 0"/>
<geom type="box" size=".1 .1 .1" pos=".5 0 0"/></body>'''
FLOOR = '<geom name="floor" type="plane" size="0 0 1"/>'
BODY = f'''<body name="chair" pos="0 0 .5" euler="0 0 30"><freejoint/>
{LEG}
{SEAT}
{TURNED}
{ARM}
</body>'''
BASE = f'''<mujoco model="base">
<compiler angle="degree"/>
{DEFAULT}
<asset>{MESH}</asset>
<worldbody>{FLOOR}
{BODY}
</worldbody>
</mujoco>
'''
END = '</mujoco>'
REPLACED = {  # kind: (a part of BASE, what means the same)
    'no model name': (' model="base"', ''), 'comment': (SEAT, f'<!-- <geom/> -->{SEAT}'),
    'instruction': (SEAT, f'<?tool a?>{SEAT}'), 'text': (SEAT, f'some text {SEAT}'),
    'quotes': ('size=".3 .3 .1"', "size='.3 .3 .1'"), 'tabs': ('.3 .3 .1', ' .3\t.3\n.1 '),
    'exponents': ('.3 .3 .1', '3e-1 30E-2 0.0001e3'), 'zeros': ('.3 .3 .1', '0.300 0.30 00.1'),
    'reference': ('.3 .3 .1', '.3 .3 &#46;1'), 'order of attributes': (
        SEAT, '<geom mass="3" size=".3 .3 .1" type="box" name="seat"/>'),
    'names': ('name="seat"', 'name="s\u00efege \u2603"'), 'no names': (' name="seat"', ''),
    'quat': ('euler="0 0 90"', 'quat=".70710678118654752 0 0 .70710678118654752"'),
    'minus quat': ('euler="0 0 90"', 'quat="-1 0 0 -1"'),
    'axisangle': ('euler="0 0 90"', 'axisangle="0 0 2 90"'),
    'xyaxes': ('euler="0 0 90"', 'xyaxes="0 1 0 -1 0 0"'),
    'full turns': ('euler="0 0 90"', 'euler="0 0 450"'),
    'eulerseq': ('angle="degree"', 'angle="degree" eulerseq="XYZ"'),
    'radian': (BASE, re.sub(r'euler="0 0 (\d+)"', lambda m: f'euler="0 0 {np.radians(int(m[1]))}"',
                            BASE).replace('degree', 'radian')),
    'degrees by default': ('<compiler angle="degree"/>', ''),
    'two compilers': ('<compiler', '<compiler angle="radian"/><compiler'),
    'compiler at the end': (BASE, BASE.replace('<compiler angle="degree"/>', '').replace(
        END, '<compiler angle="degree"/>' + END)),
    'explicit class': (LEG, '<geom type="box" size=".05 .06 .2" pos=".2 0 -.2"/>'),
    'class main': (SEAT, SEAT.replace('name=', 'class="main" name=')),
    'childclass': (LEG, f'<frame childclass="leg">{LEG.replace("class=", "name=")}</frame>'),
    'nested default': ('<default class="leg">', '<default class="x"/><default class="leg">'),
    'two defaults': ('<default class="leg">', '</default><default><default class="leg">'),
    'explicit density': ('type="mesh" mesh="t"', 'type="mesh" mesh="t" density="700"'),
    'mass as density': ('mass="3"', f'density="{3 / 0.072}"'),
    'box by its ends': ('size=".3 .3 .1"', 'size=".3" fromto="0 0 -.1 0 0 .1"'),
    'order of geoms': (f'{LEG}\n{SEAT}', f'{SEAT}\n{LEG}'),
    'order of bodies': (f'{TURNED}\n{ARM}', f'{ARM}\n{TURNED}'),
    'identity body': (SEAT, f'<body>{SEAT}</body>'),
    'identity frame': (SEAT, f'<frame>{SEAT}</frame>'),
    'deep bodies': (SEAT, f'{"<body>" * 20}{SEAT}{"</body>" * 20}'),
    'body that moves': (SEAT, '<body pos="1 0 0"><geom type="box" size=".3 .3 .1" mass="3" '
                              'pos="-1 0 0"/></body>'),
    'frame that moves': (SEAT, f'<frame pos="1 0 0"><frame pos="-1 0 0">{SEAT}</frame></frame>'),
    'frame with the turn': (TURNED, '<frame pos="0 .1 .3" euler="0 0 90">'
                                    '<geom type="mesh" mesh="t"/></frame>'),
    'frame around bodies': (BODY, f'<frame>{BODY}</frame>'),
    'joint free': ('<freejoint/>', '<joint type="free" name="root"/>'),
    'aligned free joint': ('<freejoint/>', '<freejoint align="true"/>'),
    'no joint': ('<joint axis="0 1 0"/>', ''), 'ball joint': ('axis="0 1 0"', 'type="ball"'),
    'slide joint': ('axis="0 1 0"', 'type="slide" axis="1 0 0" range="-1 1"'),
    'site': (SEAT, f'<site size="1"/>{SEAT}'), 'light': (FLOOR, f'{FLOOR}<light pos="0 0 3"/>'),
    'camera': (SEAT, f'<camera name="c"/>{SEAT}'), 'static box': (
        FLOOR, f'{FLOOR}<geom type="box" size="5 5 5" pos="9 9 9"/>'),
    'static body': (FLOOR, f'{FLOOR}<body><geom size="1"/></body>'),
    'box as the floor': (FLOOR, '<geom type="box" size="9 9 1" pos="0 0 -1"/>'),
    'no floor': (FLOOR, ''), 'hidden shape': (
        SEAT, f'{SEAT}<geom size="1" mass="0" contype="0" conaffinity="0" group="4"/>'),
    'material': (BASE, BASE.replace('name="seat"', 'material="m"').replace(
        '<asset>', '<asset><material name="m" rgba="0 1 0 1"/>')),
    'scaled vertices': (VERTEX, VERTEX.replace('.4', '400') + ' scale=".001 .001 .001"'),
    'scale by default': (BASE, BASE.replace(VERTEX, VERTEX.replace('.4', '4')).replace(
        '<default><', '<default><mesh scale=".1 .1 .1"/><')),
    'refpos': (VERTEX, 'vertex="1 2 3 1.4 2 3 1 2.4 3 1 2 3.4" refpos="1 2 3"'),
    'order of faces': (FACE, 'face="0 3 2 0 1 3 1 2 3 0 2 1"'),
    'first corners': (FACE, 'face="2 1 0 1 3 0 2 3 1 3 2 0"'),
    'hull': (FACE, ''), 'exact inertia': (FACE, f'{FACE} inertia="exact"'),
    'convex inertia': (FACE, f'{FACE} inertia="convex"'),
    'unused vertex': (VERTEX, VERTEX[:-1] + ' .1 .1 .1"'), 'unused mesh': (
        MESH, MESH + MESH.replace('"t"', '"u"')), 'two assets': (MESH, f'</asset><asset>{MESH}'),
    'two worlds': (f'{FLOOR}\n', f'{FLOOR}</worldbody><worldbody>'),
    'discardvisual': ('angle', 'discardvisual="true" angle'),
    'fusestatic': ('angle', 'fusestatic="true" angle'),
    'autolimits': ('angle', 'autolimits="false" angle'),
    'inertiafromgeom': ('angle', 'inertiafromgeom="true" angle'),
    'overruled inertial': (BASE, BASE.replace('angle', 'inertiafromgeom="true" angle').replace(
        SEAT, f'{SEAT}<inertial pos="9 9 9" mass="9" diaginertia="9 9 9"/>')),
    'boundmass': ('angle', 'boundmass=".001" boundinertia=".0001" angle'),
    'option': ('<asset>', '<option timestep=".01" integrator="RK4"><flag energy="enable"/></option>'
                          '<asset>'),
    'unused sections': (END, '<visual/><statistic/><size/><custom/><keyframe/><sensor/>' + END),
    'actuator': (END, '<actuator><motor joint="j"/></actuator>' + END),
    'tendon and sensor': (END, '<tendon><fixed><joint joint="j" coef="1"/></fixed></tendon><sensor>'
                               '<framepos objtype="site" objname="s"/></sensor>' + END),
    'exclude': (END, '<contact><exclude body1="chair" body2="arm"/></contact>' + END),
}
ENCODED = {
    'declared UTF-8': lambda t: b'<?xml version="1.0" encoding="UTF-8"?>\n' + t.encode(),
    'mark': lambda t: t.encode('utf-8-sig'), 'UTF-16': lambda t: t.encode('utf-16'),
    'declared UTF-16': lambda t: ('<?xml version="1.0" encoding="UTF-16"?>' + t).encode('utf-16'),
    'declared Latin-1': lambda t: ('<?xml version="1.0" encoding="iso-8859-1"?>' + t.replace(
        'seat', 'si\xe8ge')).encode('latin-1'),
    'Latin-1': lambda t: t.replace('seat', 'si\xe8ge').encode('latin-1'),
    'Windows': lambda t: ("<?xml version='1.0' encoding='windows-1252'?>" + t.replace(
        'seat', 'si\u0153ge')).encode('cp1252'),
    'doctype': lambda t: b'<!DOCTYPE mujoco SYSTEM "none.dtd">' + t.encode(),
    'CRLF': lambda t: t.replace('\n', '\r\n').encode(), 'one line': lambda t: t.replace(
        '\n', ' ').encode(), 'end': lambda t: f'{t}\n\n<!-- end -->\n'.encode()}
OBJ = 'v 0 0 0\nv .4 0 0\nv 0 .4 0\nv 0 0 .4\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n'
PLAIN, FOLDER = 't.obj', 'a/t.obj'
FILES = {  # kind: (a part of BASE, what means the same, {name: content of a file beside it})
    'obj': (MESH, '<mesh name="t" file="t.obj"/>', {PLAIN: OBJ}),
    'name of the file': (MESH, '<mesh file="t.obj"/>', {PLAIN: OBJ}),
    'capital suffix': (MESH, '<mesh name="t" file="T.OBJ"/>', {'T.OBJ': OBJ}),
    'content type': (MESH, '<mesh file="t.obj" content_type="model/obj"/>', {PLAIN: OBJ}),
    'file before vertices': (MESH, '<mesh name="t" file="t.obj" vertex="0 0 0 9 0 0 0 9 0 0 0 9"/>',
                             {PLAIN: OBJ}),
    'folder': (MESH, '<mesh file="a/t.obj"/>', {FOLDER: OBJ}),
    'backslash': (MESH, r'<mesh file="a\t.obj"/>', {FOLDER: OBJ}),
    'meshdir': (BASE, BASE.replace(MESH, '<mesh file="t.obj"/>').replace(
        'angle', 'meshdir="a" angle'), {FOLDER: OBJ}),
    'assetdir': (BASE, BASE.replace(MESH, '<mesh file="t.obj"/>').replace(
        'angle', 'assetdir="a/" angle'), {FOLDER: OBJ}),
    'meshdir before assetdir': (BASE, BASE.replace(MESH, '<mesh file="t.obj"/>').replace(
        'angle', 'assetdir="b" meshdir="a" angle'), {FOLDER: OBJ}),
    'strippath': (BASE, BASE.replace(MESH, '<mesh file="../b/t.obj"/>').replace(
        'angle', 'strippath="true" angle'), {PLAIN: OBJ}),
    'scaled file': (MESH, '<mesh file="t.obj" scale=".01 .01 .01"/>',
                    {PLAIN: OBJ.replace('.4', '40')}),
    'ascii stl': (MESH, '<mesh file="t.stl"/>', {'t.stl': 'stl_ascii'}),
    'binary stl': (MESH, '<mesh file="t.stl"/>', {'t.stl': 'stl'}),
    'msh': (MESH, '<mesh file="t.msh"/>', {'t.msh': 'msh'}),
    'include of assets': (MESH, '<include file="i.xml"/>', {'i.xml': f'<mujoco>{MESH}</mujoco>'}),
    'include of a part': (SEAT, '<include file="i.xml"/>',
                          {'i.xml': f'<mujocoinclude>{SEAT}</mujocoinclude>'}),
    'include of a body': (BODY, '<include file="a/i.xml"/>', {'a/i.xml': f'<a>{BODY}</a>'}),
    'include of defaults': (DEFAULT, '<include file="i.xml"/>',
                            {'i.xml': f'<mujoco>{DEFAULT}</mujoco>'}),
    'include of the file': (BASE, '<mujoco><include file="i.xml"/></mujoco>', {'i.xml': BASE}),
    'include of an include': (SEAT, '<include file="a/i.xml"/>', {
        'a/i.xml': '<a><include file="j.xml"/></a>', 'j.xml': f'<a>{SEAT}</a>'}),
    'included meshdir': (BASE, BASE.replace(MESH, '<mesh file="t.obj"/>').replace(
        DEFAULT, DEFAULT + '<include file="i.xml"/>'), {
            'i.xml': '<a><compiler meshdir="a"/></a>', FOLDER: OBJ}),
}


def figures(folder, data):
  """[volume, mass, centre, inertia, corners of the hull's box] of the one body of a file."""
  (folder / 'model.xml').write_bytes(data)
  [solid] = mesh_io.read_solids(folder / 'model.xml')
  contact, mass, center, inertia = solid.body
  return np.concatenate([[body.from_mesh(solid.mesh, 1.0).mass, mass], center, inertia.ravel(),
                         contact.min(0), contact.max(0)])


@pytest.fixture(scope='module')
def expected(tmp_path_factory):
  result = figures(tmp_path_factory.mktemp('base'), BASE.encode())
  arm = 0.008 * 700
  assert result[1] == pytest.approx(3 + arm + 700 * (0.1 * 0.12 * 0.4 + 0.4**3 / 6))
  return result


def check(folder, data, expected):
  np.testing.assert_allclose(figures(folder, data), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('kind', REPLACED)
def test_another_text_of_the_same_meaning(kind, tmp_path, expected):
  old, new = REPLACED[kind]
  assert old in BASE
  check(tmp_path, BASE.replace(old, new).encode(), expected)


@pytest.mark.parametrize('kind', ENCODED)
def test_another_encoding(kind, tmp_path, expected):
  check(tmp_path, ENCODED[kind](BASE), expected)


@pytest.mark.parametrize('kind', FILES)
def test_parts_in_other_files(kind, tmp_path, expected):
  old, new, others = FILES[kind]
  assert old in BASE
  vertices = np.array([(0, 0, 0), (.4, 0, 0), (0, .4, 0), (0, 0, .4)], np.float32)
  faces = np.array([(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)], np.int32)
  for name, content in others.items():
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if content == 'msh':
      data = np.array([4, 0, 0, 4], np.int32).tobytes() + vertices.tobytes() + faces.tobytes()
    elif content.startswith('stl'):
      data = trimesh.Trimesh(vertices, faces).export(file_type=content)
    else:
      data = content
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
  check(tmp_path, BASE.replace(old, new).encode(), expected)


def damaged(rng):
  """BASE with one random fault: bytes lost, repeated or replaced, a word moved or replaced."""
  data, kind = bytearray(BASE.encode()), rng.integers(6)
  start, length = rng.integers(len(data)), rng.integers(1, 30)
  if kind == 0:
    del data[start:start + length]
  elif kind == 1:
    data[start:start] = data[start:start + length]
  elif kind == 2:
    data[start:start + 3] = rng.bytes(3)
  elif kind == 3:
    del data[start:]
  words = re.split(r'([\s"<>/=]+)', BASE)
  k, other = rng.integers(0, len(words), 2)
  if kind == 4:
    words[k] = str(rng.choice(['nan', '-1', '1e300', '0', '', 'inf', 'x', '-0.5', '99999999999']))
  elif kind == 5:
    words[k] = words[other]
  return ''.join(words).encode() if kind > 3 else bytes(data)


def test_damage_gives_a_sentence_or_a_body(tmp_path, monkeypatch, capfd):
  """Finite masses and points, or one sentence without the name of an exception."""
  monkeypatch.chdir(tmp_path)
  rng, faults = np.random.default_rng(0), 0
  for _ in range(300):
    data = damaged(rng)
    (tmp_path / 'model.xml').write_bytes(data)
    try:
      for solid in mesh_io.read_solids(tmp_path / 'model.xml'):
        assert all(np.isfinite(x).all() for x in (solid.mesh.vertices, *solid.body))
    except MeshError as error:
      text, faults = str(error), faults + 1
      assert '\n' not in text and text.endswith('.') and len(text) < 600, text
      assert not re.search(r'\b[A-Z]\w+(Error|Exception)\b|NoneType|Traceback|object', text), text
  assert 100 < faults < 290 and capfd.readouterr() == ('', '')

"""Round trips, files against trimesh and MuJoCo, and the poses of the parts of a scene."""

import os
import pathlib
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


def by_position(mesh):
  """Vertices and colours in an order that does not depend on that of the file."""
  order = np.lexsort(np.round(mesh.vertices, 4).T)
  return mesh.vertices[order], None if mesh.colors is None else mesh.colors[order]


@pytest.mark.parametrize('kind, color_error', [
    ('glb', 1e-3), ('obj', 0.6 / 255), ('ply', 0.6 / 255), ('stl', None)])
def test_round_trip(kind, color_error, tmp_path):
  mesh, path = bear(), tmp_path / f'bear.{kind}'
  mesh_io.write(path, mesh)
  result = mesh_io.read(path)
  for (a, b), tolerance in zip(zip(by_position(result), by_position(mesh)), (1e-6, color_error)):
    if tolerance is None:
      assert a is None
    else:
      np.testing.assert_allclose(a, b, atol=tolerance)
  assert result.vertices.dtype == np.float64 and result.faces.dtype == np.int32
  assert meshes.is_watertight(result.faces)
  same, original = body.from_mesh(result), body.from_mesh(mesh)
  assert same.status == 'exact'
  np.testing.assert_allclose(same.mass, original.mass, rtol=1e-5)
  np.testing.assert_allclose(same.center, original.center, atol=1e-6)
  assert os.listdir(tmp_path) == [path.name]


def test_glb_is_as_the_standard_says(tmp_path):
  """Read by trimesh alone: y-up, winding outwards, linear colours."""
  mesh, path = bear(), tmp_path / 'bear.glb'
  mesh_io.write(path, mesh)
  (result,) = trimesh.load_scene(path, process=False).geometry.values()
  x, y, z = mesh.vertices.T
  np.testing.assert_allclose(result.vertices, np.stack([x, z, -y], -1), atol=1e-7)
  assert result.volume > 0 and result.is_watertight
  linear = image.srgb_to_linear(mesh.colors)
  stored = result.visual.vertex_attributes['color'][:, :3] / 65535
  np.testing.assert_allclose(stored, linear, atol=1e-5)
  outwards = trimesh.Trimesh(result.vertices, result.faces, process=False).vertex_normals
  assert ((result.vertex_normals * outwards).sum(-1) > 0.99).all()


@pytest.mark.parametrize('kind', ['obj', 'ply', 'stl'])
def test_other_formats_stay_z_up(kind, tmp_path):
  mesh, path = bear(), tmp_path / f'bear.{kind}'
  mesh_io.write(path, mesh)
  result = trimesh.load_scene(path).to_geometry()
  np.testing.assert_allclose(result.bounds, [mesh.vertices.min(0), mesh.vertices.max(0)], atol=1e-6)
  assert result.volume > 0


def test_up_overrides(tmp_path):
  mesh = bear()
  mesh_io.write(tmp_path / 'bear.obj', mesh)
  turned = by_position(mesh_io.read(tmp_path / 'bear.obj', up='y'))[0]
  x, y, z = mesh.vertices.T
  expected = by_position(mesh.replace(vertices=np.stack([x, -z, y], -1)))[0]
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


def test_parts_of_a_scene_are_merged_in_their_poses(tmp_path):
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
  result = mesh_io.read(tmp_path / 'scene.glb', up='z')
  np.testing.assert_allclose(result.vertices.min(0), (9.5, -1, -1.5), atol=1e-6)
  np.testing.assert_allclose(result.vertices.max(0), (10.5, 6, 1.5), atol=1e-6)
  np.testing.assert_allclose(body.from_mesh(result).mass, 12000.0, rtol=1e-6)
  red = (np.abs(result.colors - (1, 0, 0)) < 1e-3).all(-1)
  assert red.sum() == 8 and (result.colors[~red] > 0.99).all()


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


def test_an_error_leaves_the_old_file(tmp_path):
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


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='reads /proc')
def test_a_scan_of_two_million_faces(tmp_path):
  """A torus as STL, and as PLY with every seventh face turned, and a ball, all of whose vertices
  are on its hull: read, a body, and a packed one within 2 GB."""
  i, j = np.indices((1000, 1000))
  u, v = 2 * np.pi * i / 1000, 2 * np.pi * j / 1000
  ring = 1 + 0.4 * np.cos(v)
  vertices = np.stack([ring * np.cos(u), ring * np.sin(u), 0.4 * np.sin(v)], -1).reshape(-1, 3)
  corner = lambda a, b: ((i + a) % 1000 * 1000 + (j + b) % 1000).ravel()
  faces = np.concatenate([np.stack([corner(0, 0), corner(1, 0), corner(1, 1)], 1),
                          np.stack([corner(0, 0), corner(1, 1), corner(0, 1)], 1)])
  mesh_io.write(tmp_path / 'scan.stl', Mesh(vertices, faces))
  faces[::7] = faces[::7, ::-1]
  mesh_io.write(tmp_path / 'scan.ply', Mesh(vertices, faces))
  ball = trimesh.creation.uv_sphere(count=[500, 1000])
  mesh_io.write(tmp_path / 'ball.ply', Mesh(ball.vertices, ball.faces))
  code = '''
import re, sys
from jax3dgen.export import mesh_io
from jax3dgen.physics import body
result = body.from_mesh(mesh_io.read(sys.argv[1]))
print(result.status, result.mass, len(result.hull), body.pack([result]).buckets[0][1].error[0])
print(*re.findall('VmHWM:\\\\s*(.*) kB', open('/proc/self/status').read()))  # the peak, in KiB
'''
  root = pathlib.Path(__file__).resolve().parent.parent.parent
  lines = []
  for name in ('scan.stl', 'scan.ply', 'ball.ply'):
    done = subprocess.run([sys.executable, '-c', code, name], capture_output=True, text=True,
                          timeout=600, cwd=tmp_path, env=os.environ | {'PYTHONPATH': str(root)},
                          check=False)
    assert done.returncode == 0, done.stderr
    lines.append(done.stdout.split())
  status, mass, hull, error, peak = zip(*lines)
  assert status == ('exact', 'repaired', 'exact')
  assert max(map(int, peak)) < 2_000_000, peak
  volume = np.array([2 * np.pi**2 * 0.4**2] * 2 + [4 / 3 * np.pi])
  np.testing.assert_allclose(np.float64(mass), 1000 * volume, rtol=1e-4)
  assert int(hull[2]) > 900_000 and max(map(float, error)) < 0.06

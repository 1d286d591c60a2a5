import base64
import json
import re

import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import viewer


def ball(subdivisions=2):
  solid = trimesh.creation.icosphere(subdivisions, radius=0.7)
  vertices = np.asarray(solid.vertices, np.float32) + np.float32([0.1, 0.2, 0.3])
  colors = np.random.default_rng(0).random(vertices.shape, np.float32)
  return Mesh(vertices, np.asarray(solid.faces, np.int32), colors)


def scene(html):
  return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html).group(1))


def decode(text, dtype, width=3):
  return np.frombuffer(base64.b64decode(text), dtype).reshape(-1, width)


def test_the_mesh_can_be_decoded():
  mesh = ball()
  packed = scene(viewer.figure([viewer.Pose('it', mesh)], 'a ball'))['meshes'][0]
  vertices = np.array(packed['low']) + decode(packed['positions'], '<u2') / 65535 * packed['size']
  np.testing.assert_allclose(vertices, mesh.vertices, atol=1.4 / 65535)
  np.testing.assert_array_equal(decode(packed['faces'], '<u2'), mesh.faces)
  np.testing.assert_allclose(decode(packed['colors'], 'u1'), 255 * mesh.colors, atol=0.501)


def test_many_vertices_need_wide_indices():
  count = 65537
  vertices = np.random.default_rng(0).random((count, 3), np.float32)
  faces = np.array([[0, 1, count - 1]], np.int32)
  packed = scene(viewer.figure([viewer.Pose('it', Mesh(vertices, faces))], 'it'))['meshes'][0]
  assert packed['wide'] and packed['colors'] is None
  np.testing.assert_array_equal(decode(packed['faces'], '<u4'), faces)


def test_poses_share_a_mesh_and_keep_their_transforms():
  mesh, turn = ball(), np.eye(4)
  turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
  turn[:3, 3] = 1, 2, 3
  path = np.stack([np.eye(4), turn])
  poses = [viewer.on_floor(mesh), viewer.Pose('b', mesh, path, fps=5.0), viewer.Pose('c', ball())]
  read = scene(viewer.figure(poses, 'a ball', floor=True))
  assert len(read['meshes']) == 2 and [p['mesh'] for p in read['poses']] == [0, 0, 1]
  assert read['floor'] and read['poses'][1]['fps'] == 5.0
  np.testing.assert_allclose(np.reshape(read['poses'][1]['frames'], (2, 3, 4)), path[:, :3])


def test_a_movement_ends_where_it_rests():
  path = np.tile(np.eye(4), (50, 1, 1))
  path[:, 2, 3] = np.maximum(1 - np.arange(50) / 10, 0)
  read = scene(viewer.figure([viewer.Pose('it', ball(), path)], 'it'))['poses'][0]['frames']
  np.testing.assert_allclose(np.reshape(read, (-1, 3, 4)), path[:11, :3], atol=1e-5)
  still = scene(viewer.figure([viewer.Pose('it', ball(), path[20:])], 'it'))['poses'][0]['frames']
  assert len(still) == 1


def test_standing_touches_the_floor():
  pose = viewer.on_floor(ball())
  lowest = (np.asarray(pose.mesh.vertices) @ pose.transform[:3, :3].T + pose.transform[:3, 3])[:, 2]
  assert abs(lowest.min()) < 1e-6


def test_a_flat_mesh_can_be_shown():
  mesh = Mesh(np.float32([[0, 0, 1], [1, 0, 1], [0, 1, 1]]), np.int32([[0, 1, 2]]))
  packed = scene(viewer.figure([viewer.Pose('it', mesh)], 'it'))['meshes'][0]
  assert min(packed['size']) > 0
  np.testing.assert_array_equal(decode(packed['positions'], '<u2')[:, 2], 0)


def test_texts_are_escaped_and_nothing_is_fetched():
  poses = [viewer.Pose('</script><script>x', ball()), viewer.Pose('"b"', ball())]
  html = viewer.snippet(poses, '"><script>y</script>')
  assert '<script>x' not in html and '<script>y' not in html
  assert not re.search(r'(src|href)=|https?://|@import|url\(', html)
  assert len(re.findall('<script', html)) == len(re.findall('</script', html)) == 4


@pytest.mark.parametrize('change', [
    lambda m: m.replace(vertices=np.full_like(m.vertices, np.nan)),
    lambda m: m.replace(colors=np.full_like(m.colors, np.inf)),
    lambda m: m.replace(faces=m.faces[:0]),
    lambda m: m.replace(faces=m.faces + 5),
])
def test_a_broken_mesh_is_refused(change):
  with pytest.raises(MeshError):
    viewer.figure([viewer.Pose('it', change(ball()))], 'it')


@pytest.mark.parametrize('transform', [np.eye(3), np.zeros((0, 4, 4)), np.full((4, 4), np.nan)])
def test_a_broken_transform_is_refused(transform):
  with pytest.raises(ValueError):
    viewer.figure([viewer.Pose('it', ball(), transform)], 'it')


@pytest.mark.parametrize('floor', [True, False])
def test_a_mesh_far_from_the_origin_is_shown_as_near_it(floor):
  """The browser computes in float32; the floor stays where it is."""
  near, offset = ball(), np.array([3e6, -2e6, 1e6])
  far = near.replace(vertices=near.vertices.astype(np.float64) + offset)
  turn = np.eye(4)
  turn[:2, :2], turn[2, 3] = [[0, -1], [1, 0]], 0.5
  def shown(mesh, transform):
    poses = [viewer.on_floor(mesh), viewer.Pose('b', mesh, transform)]
    read = scene(viewer.figure(poses, 'it', floor=floor))
    packed, = read['meshes']
    points = np.array(packed['low']) + decode(packed['positions'], '<u2') / 65535 * packed['size']
    assert np.abs(points).max() < 2
    return [np.einsum('ij,vj->vi', np.reshape(pose['frames'][-1], (3, 4))[:, :3], points)
            + np.reshape(pose['frames'][-1], (3, 4))[:, 3] for pose in read['poses']]
  back = turn.copy()
  back[:3, 3] += offset * (1, 1, 0) - turn[:3, :3] @ offset
  first, second = zip(shown(near, turn), shown(far, back))
  shift = first[1] - first[0]
  np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-4)
  np.testing.assert_allclose(second[1] - second[0], shift, atol=1e-4)
  assert abs(shift[0, 2]) < 1e-4 or not floor

"""Meshes of occupancy logits: balls and boxes of known place and volume."""

import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.scene import mesh as meshes
from jax3dgen.scene import voxels

R = 24
AXIS = (np.arange(R) + 0.5) / R - 0.5
POINTS = np.stack(np.meshgrid(AXIS, AXIS, AXIS, indexing='ij'), -1)


def ball(center, radius):
  """Logits that fall with the distance [voxels] from a ball."""
  return R * (radius - np.linalg.norm(POINTS - np.array(center), axis=-1))


def volume(surface):
  return trimesh.Trimesh(surface.vertices, surface.faces, process=False).volume


def test_ball_has_its_place_and_volume():
  surface = voxels.mesh(ball((0.1, -0.05, 0.02), 0.3))
  assert surface.vertices.dtype == np.float32 and meshes.is_watertight(surface.faces)
  distance = np.linalg.norm(surface.vertices - np.array([0.1, -0.05, 0.02]), axis=1)
  np.testing.assert_allclose(distance, 0.3, atol=0.1 / R)
  np.testing.assert_allclose(volume(surface), 4 / 3 * np.pi * 0.3**3, rtol=0.02)


def test_object_at_the_border_is_closed():
  surface = voxels.mesh(np.full((R, R, R), 4.0))
  assert meshes.is_watertight(surface.faces)
  np.testing.assert_allclose(surface.vertices.min(0), -0.5, atol=0.5 / R)


def test_parts_above_the_share_are_one_body():
  large, middle, small = (ball((0, 0, -0.2), 0.25), ball((0, 0, 0.25), 0.12),
                          ball((0.4, 0.4, 0.4), 0.06))
  logits = np.maximum(np.maximum(large, middle), small)
  assert [int((x > 0).sum()) > 0.03 * (large > 0).sum() for x in (middle, small)] == [True, False]
  assert voxels.parts(logits) == 2 and voxels.parts(logits, 0.0) == 3
  close = lambda surface, whole: np.testing.assert_allclose(
      volume(surface), sum(volume(voxels.mesh(x)) for x in whole), rtol=1e-3)
  close(voxels.mesh(logits), (large, middle))
  close(voxels.mesh(logits, 0.0), (large, middle, small))
  close(voxels.mesh(logits, which='largest'), (large,))


def test_an_occupancy_serves_several_surfaces():
  """Bit for bit those of the logits, in any order: none changes the grid."""
  logits = np.maximum(ball((0, 0, -0.2), 0.25), ball((0.4, 0.4, 0.4), 0.06)).astype(np.float32)
  shared = voxels.occupancy(logits)
  for smallest, which in ((0.03, 'largest'), (0.03, 'parts'), (0.0, 'parts'), (0.0, 'largest')):
    ours = voxels.surface(shared, smallest, which)
    alone = voxels.mesh(logits.copy(), smallest, which)
    np.testing.assert_array_equal(ours.vertices, alone.vertices)
    np.testing.assert_array_equal(ours.faces, alone.faces)
    assert voxels.count(shared, smallest) == voxels.parts(logits, smallest)
  np.testing.assert_array_equal(shared.grid[1:-1, 1:-1, 1:-1], logits)
  assert shared.sizes.sum() == (logits > 0).sum() == (shared.part > 0).sum()


def test_voxels_that_share_a_corner_are_one_part():
  logits = np.full((6, 6, 6), -1.0)
  logits[1:3, 1:3, 1:3] = logits[3:5, 3:5, 3:5] = 1.0
  assert voxels.parts(logits) == 1
  logits[3:5, 3:5, 3:5] = -1.0
  logits[3:5, 3:5, 4:] = 1.0
  assert voxels.parts(logits) == 2


def test_of_two_equal_parts_the_first_is_the_largest():
  logits = np.full((9, 9, 9), -1.0)
  logits[1:3, 1:3, 1:3] = logits[6:8, 6:8, 6:8] = 1.0
  assert voxels.mesh(logits, which='largest').vertices.max() < 0


def test_cut_takes_the_height_off_all_pieces():
  # Two balls that end at the same height; a cap of height h has the volume pi h^2 (r - h / 3).
  surface = voxels.mesh(np.maximum(ball((-0.2, -0.2, 0.0), 0.2), ball((0.25, 0.25, -0.05), 0.15)))
  assert voxels.cut(surface, 0) is surface
  height = 2.0 / R
  flat = voxels.cut(surface, height)
  np.testing.assert_allclose(flat.vertices[:, 2].min(), surface.vertices[:, 2].min() + height,
                             atol=1e-6)
  caps = np.pi * height**2 * (0.2 + 0.15 - 2 * height / 3)
  np.testing.assert_allclose(volume(surface) - volume(flat), caps, rtol=0.05)
  with pytest.raises(MeshError, match='empty'):
    voxels.cut(surface, 2.0)


@pytest.mark.parametrize(('logits', 'sentence'), [
    (np.full((4, 4, 4), -1.0), 'empty'), (np.full((4, 4, 4), np.nan), 'not finite')])
def test_occupancy_without_a_surface_is_refused(logits, sentence):
  assert voxels.parts(logits) == 0
  with pytest.raises(MeshError, match=sentence):
    voxels.mesh(logits)


def test_unknown_choice_of_parts_is_refused():
  with pytest.raises(ValueError, match='which'):
    voxels.mesh(ball((0, 0, 0), 0.2), which='biggest')

"""The drop test against closed forms (tilting boxes, support polygons) and its own invariances."""

import pathlib

import mujoco
import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, native


def body_of(surface, turn_deg=0.0, axis=(0, 1, 0)):
  turn = trimesh.transformations.rotation_matrix(np.deg2rad(turn_deg), axis)
  return body.from_mesh(Mesh(trimesh.transform_points(surface.vertices, turn), surface.faces))


BOX = trimesh.creation.box((0.5, 1.0, 1.0))


@pytest.mark.parametrize('tilt, final', [
    (5, 5.0), (19, 19.0), (20, 20.0), (25, 25.0), (26.4, 26.4),  # below atan(0.5): back on its foot
    (26.7, 63.3), (28, 62.0), (46, 44.0), (69, 21.0), (71, 19.0), (85, 5.0),  # above: on its side
])
def test_tilted_box(tilt, final):
  result = native.drop(body_of(BOX, tilt))
  np.testing.assert_allclose(result.rotation_deg, final, atol=1e-3)
  if tilt != 20:  # exactly on the threshold
    assert result.stable == (final < 20)
  assert result.settled and not result.diverged


def test_tilt_is_measured_from_the_upright_pose():
  upright = body_of(BOX)
  for tilt, final in ((0, 0), (20, 0), (26.4, 0), (26.7, 90), (46, 90)):
    result = native.drop(upright, tilt=(0, np.deg2rad(tilt), 0))
    np.testing.assert_allclose(result.rotation_deg, final, atol=1e-2)
  start = native.drop(upright, seconds=0.001, tilt=(0, 0.3, 0), fps=1000).motion
  np.testing.assert_allclose(native.rotation_deg(start.quaternions[0]), np.rad2deg(0.3))
  np.testing.assert_allclose(lowest(BOX, start.positions[0], start.quaternions[0]), 0, atol=1e-12)


def lowest(surface, position, quaternion):
  matrix = trimesh.transformations.quaternion_matrix(quaternion)
  return (trimesh.transform_points(surface.vertices, matrix) + position)[:, 2].min()


def test_support_polygon_decides():
  """A sheared cube stands iff its centre of mass is over its foot."""
  for shift, stands in ((0.0, True), (0.45, True), (0.55, False), (1.0, False)):
    foot = [(x, y, 0.0) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
    top = [(x + 2 * shift, y, 1.0) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
    result = native.drop(body_of(trimesh.convex.convex_hull(np.array(foot + top))))
    assert result.stable == stands, (shift, result)  # its centre is at x = shift


def test_margin_angle_decides_under_a_push():
  margin = np.rad2deg(np.arctan(0.25 / 0.5))
  for tilt in (margin - 0.3, margin + 0.3):
    result = native.drop(body_of(BOX), tilt=(0, np.deg2rad(tilt), 0))
    assert result.stable == (tilt < margin)


def test_the_solid_decides_and_not_its_hull():
  """A crane: its mass is over its foot, that of its convex hull is not."""
  def bar(x_low, x_high, z_low, z_high):
    surface = trimesh.creation.box((x_high - x_low, 1.0, z_high - z_low))
    surface.apply_translation((0.5 * (x_low + x_high), 0.0, 0.5 * (z_low + z_high)))
    return surface
  surface = trimesh.util.concatenate(
      [bar(-0.1, 0.1, 0.0, 1.0), bar(-0.1, 0.9, 0.9, 1.0), bar(-0.1, 0.2, 0.0, 0.1)])
  crane = body_of(surface)
  assert crane.status == 'repaired'  # three overlapping shells
  np.testing.assert_allclose(crane.center[0], (0.08 * 0.5 + 0.01 * 0.15) / 0.29, atol=1e-9)
  assert native.drop(crane).stable
  assert not native.drop(body_of(surface.convex_hull)).stable


def test_yaw_and_scale_change_no_label():
  cloud = np.random.default_rng(3).normal(size=(20, 3)) * (0.3, 0.3, 0.5)
  surface = trimesh.convex.convex_hull(cloud)
  plain = native.drop(body_of(surface))
  turned = native.drop(body_of(surface, 77.0, (0, 0, 1)))
  assert turned.stable == plain.stable
  for tilt in (20.0, 30.0):
    small = trimesh.creation.box((0.25, 0.5, 0.5))
    label = native.drop(body_of(small, tilt), seconds=10 / np.sqrt(2)).rotation_deg
    np.testing.assert_allclose(label, native.drop(body_of(BOX, tilt)).rotation_deg, atol=1e-3)


def test_free_fall_and_resting_pose():
  upright = body_of(BOX)
  model = native.compile_model(upright, timestep=0.001)
  data = native.release(model, upright)
  data.qpos[2] += 5.0
  native.settle(model, data, upright, seconds=0.2)
  np.testing.assert_allclose(data.qvel[2], -9.81 * 0.2)  # semi-implicit Euler
  np.testing.assert_allclose(data.qpos[2], 5.5 - 9.81 * 0.001**2 * 200 * 201 / 2)
  rest = native.drop(upright)
  np.testing.assert_allclose(rest.position, (0, 0, 0.5), atol=1e-3)


def test_pose_is_in_the_units_of_the_mesh():
  surface = trimesh.creation.box((0.5, 1.0, 1.0))
  surface.apply_translation((10.0, 20.0, 30.0))
  surface.apply_scale(1e6)
  result = native.drop(body_of(surface), seconds=1.0)
  assert result.stable
  moved = lowest(surface, result.position, result.quaternion)
  np.testing.assert_allclose(moved, 0, atol=1e3)  # a thousandth of its size
  np.testing.assert_allclose(result.position[:2], 0, atol=1e3)


def test_motion_changes_nothing_and_covers_the_fall():
  tilted = body_of(BOX, 40.0)
  plain, filmed = native.drop(tilted), native.drop(tilted, fps=25)
  assert plain.motion is None and plain.rotation_deg == filmed.rotation_deg
  motion = filmed.motion
  assert len(motion.times) == len(motion.positions) == len(motion.quaternions) == 251
  np.testing.assert_allclose(motion.times, np.arange(251) / 25, atol=1e-6)
  np.testing.assert_array_equal(motion.quaternions[0], (1, 0, 0, 0))
  np.testing.assert_array_equal(motion.quaternions[-1], filmed.quaternion)


def test_rotation_angle():
  axis = np.array([0.6, 0.0, 0.8])
  for angle in (0.0, 1.0, 20.0, 179.0):
    half = np.deg2rad(angle) / 2
    quaternion = np.array([np.cos(half), *np.sin(half) * axis])
    np.testing.assert_allclose(native.rotation_deg(quaternion), angle, atol=1e-9)
    np.testing.assert_allclose(native.rotation_deg(-quaternion), angle, atol=1e-9)


@pytest.mark.parametrize('fault', ['velocity', 'overlap', 'nan', 'timestep'])
def test_divergence_is_never_stable(fault, tmp_path, monkeypatch, capfd):
  monkeypatch.chdir(tmp_path)
  upright = body_of(BOX)
  model = native.compile_model(upright, timestep=0.5 if fault == 'timestep' else 0.001)
  data = native.release(model, upright)
  if fault == 'velocity':
    data.qvel[:] = 1e12
  if fault == 'overlap':
    data.qpos[2] -= 0.4
  if fault == 'nan':
    data.qpos[0] = np.nan
  drop = native.settle(model, data, upright, seconds=10.0)
  assert drop.diverged and not drop.stable and not drop.settled and np.isnan(drop.rotation_deg)
  assert not list(pathlib.Path(tmp_path).iterdir())  # MuJoCo's log file
  assert capfd.readouterr() == ('', '')


def test_settings_are_mujocos_defaults():
  """DSO's protocol: a plane, a free mesh, all else as MuJoCo has it."""
  model = native.compile_model(body_of(BOX))
  plain = mujoco.MjModel.from_xml_string('<mujoco/>').opt
  assert model.opt.timestep == 0.001
  assert model.opt.disableflags == mujoco.mjtDisableBit.mjDSBL_AUTORESET
  for name in ('integrator', 'solver', 'iterations', 'tolerance', 'cone', 'impratio'):
    assert getattr(model.opt, name) == getattr(plain, name)
  np.testing.assert_array_equal(model.opt.gravity, (0, 0, -9.81))
  np.testing.assert_array_equal(model.geom_friction, [(1, 0.005, 0.0001)] * 2)
  np.testing.assert_allclose(model.body_mass[1], 500.0)
  np.testing.assert_allclose(np.sort(model.body_inertia[1]), 500 / 12 * np.array([1.25, 1.25, 2]))


def test_what_mujoco_cannot_compile_is_a_mesh_error():
  flat = body_of(BOX).replace(hull=np.array([(0.0, 0, 0), (1, 0, 0), (0, 1, 0)]))
  with pytest.raises(MeshError, match='MuJoCo'):
    native.drop(flat)


def test_path_turns_the_mesh_as_the_quaternions_say():
  quarter = np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])  # 90 degrees about z: x to y
  motion = native.Motion(np.array([0.0, 1.0]), np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]),
                         np.stack([np.array([1.0, 0.0, 0.0, 0.0]), quarter]))
  path = native.path(motion)
  np.testing.assert_array_equal(path[0], np.eye(4))
  np.testing.assert_allclose(path[1] @ [1.0, 0.0, 0.0, 1.0], [1.0, 3.0, 3.0, 1.0], atol=1e-12)

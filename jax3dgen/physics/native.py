"""The drop test in C MuJoCo: does a body released on a plane stay as it is?

DSO's protocol: the body is released at rest with its lowest vertex on an infinite plane; all of
MuJoCo's settings are its defaults (gravity 9.81 along -z, friction 1, Newton solver, soft contacts)
except a time step of 1 ms; after 10 s it is stable if it has turned by less than 20 degrees, about
any axis. Two deviations: mass, centre of mass and inertia are those of the true solid (DSO leaves
MuJoCo's 'legacy' mesh inertia, wrong for concave meshes), and nothing depends on the clock of the
host. A simulation that diverges is never stable: MuJoCo's silent reset to the start is off.

Quaternions are (w, x, y, z).
"""

import contextlib
from typing import NamedTuple

import mujoco
import numpy as np

from jax3dgen.core.errors import MeshError

CHECKS = 100  # how often in a drop its energy is looked at
GAIN = 0.1  # energy gain (in m g x size) and penetration (in size) that no contact allows


class Motion(NamedTuple):
  """Poses of the mesh over time: times [T] in seconds, positions [T, 3], quaternions [T, 4]."""
  times: np.ndarray
  positions: np.ndarray
  quaternions: np.ndarray


class Drop(NamedTuple):
  """The outcome of a drop.

  `rotation_deg` in [0, 180] is the angle between the mesh as it was given, before any tilt, and at
  the end (NaN if `diverged`); `settled` says that it came to rest. A vertex v of the mesh ends at
  rotate(quaternion, v) + position, in the mesh's units, the plane at z = 0.
  """
  stable: bool
  rotation_deg: float
  position: np.ndarray
  quaternion: np.ndarray
  diverged: bool
  settled: bool
  motion: Motion | None


def drop(body, seconds=10.0, timestep=1e-3, threshold_deg=20.0, tilt=(0.0, 0.0, 0.0), fps=None):
  """Simulates a `body.Body` from its upright pose turned by `tilt` (axis times angle, radians).

  `fps` asks for its motion at about that many frames a second.
  """
  model = compile_model(body, timestep)
  data = release(model, body, tilt)
  return settle(model, data, body, seconds, threshold_deg, fps)


def compile_model(body, timestep=1e-3):
  """The mujoco.MjModel of a Body on the plane z = 0; its frame is at the centre of mass."""
  spec = mujoco.MjSpec()
  spec.option.timestep = timestep
  spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
  spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
  spec.add_mesh(name='hull', uservert=(body.hull - body.center).astype(np.float64).ravel(),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
  (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.inertia
  thing = spec.worldbody.add_body(name='body', explicitinertial=True, mass=float(body.mass),
                                  ipos=[0, 0, 0], fullinertia=[xx, yy, zz, xy, xz, yz])
  thing.add_freejoint()
  thing.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname='hull')
  try:
    return spec.compile()
  except ValueError as error:
    raise MeshError(f'MuJoCo cannot simulate this body: {str(error).splitlines()[0]}') from error


def release(model, body, tilt=(0.0, 0.0, 0.0)):
  """mujoco.MjData with the body at rest, turned by `tilt`, its lowest vertex on the plane."""
  data = mujoco.MjData(model)
  angle = np.linalg.norm(tilt)
  quaternion = np.array([1.0, 0.0, 0.0, 0.0])
  if angle > 0:
    mujoco.mju_axisAngle2Quat(quaternion, np.asarray(tilt, np.float64) / angle, angle)
  height = -(_matrix(quaternion) @ (body.hull - body.center).T)[2].min()
  data.qpos[:] = *body.center[:2], height, *quaternion
  return data


def settle(model, data, body, seconds, threshold_deg=20.0, fps=None):
  """Simulates `seconds` from the state in `data`, which it changes, and judges the outcome."""
  timestep = model.opt.timestep
  total = max(round(seconds / timestep), 1)
  stride = max(round(1 / (fps * timestep)), 1) if fps else -(-total // CHECKS)
  size = np.ptp(body.hull, axis=0).max()
  limit = _energy(model, data, body) + GAIN * size * body.mass * -model.opt.gravity[2]
  frames, done, diverged = [(data.time, *_pose(data, body))], 0, False
  with _quiet():
    while done < total and not diverged:
      steps = min(stride, total - done)
      mujoco.mj_step(model, data, nstep=steps)
      done += steps
      diverged = _diverged(model, data, body, limit, size)
      frames.append((data.time, *_pose(data, body)))
  position, quaternion = frames[-1][1:]
  rotation = float('nan') if diverged else rotation_deg(quaternion)
  speed = np.linalg.norm(data.qvel[:3]) + size * np.linalg.norm(data.qvel[3:])
  motion = Motion(*(np.array(column) for column in zip(*frames, strict=True))) if fps else None
  return Drop(stable=bool(rotation < threshold_deg), rotation_deg=rotation, position=position,
              quaternion=quaternion, diverged=diverged,
              settled=bool(not diverged and speed < 0.01 * np.sqrt(9.81 * size)), motion=motion)


def path(motion):
  """The poses of a Motion as transforms [T, 4, 4] of the mesh's points."""
  poses = np.tile(np.eye(4), (len(motion.times), 1, 1))
  poses[:, :3, :3] = [_matrix(q) for q in motion.quaternions]
  poses[:, :3, 3] = motion.positions
  return poses


def rotation_deg(quaternion):
  """The angle in [0, 180] degrees of a rotation by (w, x, y, z); q and -q are one rotation."""
  return float(np.rad2deg(2 * np.arctan2(np.linalg.norm(quaternion[1:]), abs(quaternion[0]))))


@contextlib.contextmanager
def _quiet():
  """MuJoCo counts its warnings in mjData; this keeps it from printing and logging them as well."""
  mujoco.set_mju_user_warning(lambda text: None)
  try:
    yield
  finally:
    mujoco.set_mju_user_warning(None)


def _energy(model, data, body):
  """Potential (0 at z = 0) plus kinetic; MuJoCo's own is that of the step before."""
  spin = data.qvel[3:]  # in the body's axes
  return (body.mass * (0.5 * data.qvel[:3] @ data.qvel[:3] - model.opt.gravity[2] * data.qpos[2])
          + 0.5 * spin @ body.inertia @ spin)


def _diverged(model, data, body, limit, size):
  """Whether MuJoCo warned, or the body gained energy, which contacts cannot give, or fell through.
  """
  warned = any(data.warning[kind].number for kind in (
      mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL,
      mujoco.mjtWarning.mjWARN_BADQACC))
  if warned or not (np.isfinite(data.qpos).all() and np.isfinite(data.qvel).all()):
    return True
  lowest = (_matrix(data.qpos[3:]) @ (body.hull - body.center).T)[2].min() + data.qpos[2]
  return bool(_energy(model, data, body) > limit or lowest < -GAIN * size)


def _pose(data, body):
  """Position and quaternion that take the mesh, as it was given, to where it is now."""
  quaternion = data.qpos[3:] / np.linalg.norm(data.qpos[3:])
  return (data.qpos[:3] - _matrix(quaternion) @ body.center) / body.scale, quaternion


def _matrix(quaternion):
  flat = np.empty(9)
  mujoco.mju_quat2Mat(flat, np.asarray(quaternion, np.float64))
  return flat.reshape(3, 3)

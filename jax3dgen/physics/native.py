"""The drop test in C MuJoCo: does a body released on a plane keep its orientation?

DSO's protocol: the body is released at rest with its lowest vertex on an infinite plane; all of
MuJoCo's settings are its defaults (gravity 9.81 along -z, friction 1, Newton solver, soft contacts)
except a time step of 1 ms; after 10 s it is stable if it has turned by less than 20 degrees, about
any axis. Two deviations: mass, centre of mass and inertia are those of the true solid (DSO leaves
MuJoCo's 'legacy' mesh inertia, wrong for concave meshes: `legacy_figures`), and nothing depends on
the clock of the host. A simulation that diverges is never stable: MuJoCo's silent reset to the
start is off.

Quaternions are (w, x, y, z).
"""

import contextlib
from typing import NamedTuple

import mujoco
import numpy as np

from jax3dgen.core.errors import MeshError
from jax3dgen.scene import mesh as meshes

GRAVITY = 9.81
CHECKS = 100  # checks of the energy in a drop
GAIN = 0.1  # limits of energy gain (in m g x size) and of penetration (in size)
REST = 0.01  # speed limit of a body at rest, in sqrt(g x size)
# Of not finite or huge positions, velocities and accelerations.
WARNINGS = slice(int(mujoco.mjtWarning.mjWARN_BADQPOS), int(mujoco.mjtWarning.mjWARN_BADQACC) + 1)


class Motion(NamedTuple):
  """Poses of the mesh over time: times [T] in seconds, positions [T, 3], quaternions [T, 4]."""
  times: np.ndarray
  positions: np.ndarray
  quaternions: np.ndarray


class Drop(NamedTuple):
  """The outcome of a drop.

  `rotation_deg` in [0, 180] is the angle between the mesh before any tilt and at the end
  (NaN if `diverged`); `settled` is true where it came to rest. A vertex v of the mesh ends at
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

  With `fps`, the Drop has its motion at about that many frames a second.
  """
  model = compile_model(body, timestep)
  data = release(model, body, tilt)
  return settle(model, data, body, seconds, threshold_deg, fps)


def compile_model(body, timestep=1e-3, friction=1.0):
  """The mujoco.MjModel of a Body on the plane z = 0; its frame is at the centre of mass.

  `friction` is the coefficient of sliding; those of torsion and rolling are MuJoCo's.
  """
  spec = mujoco.MjSpec()
  spec.option.timestep = timestep
  spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
  plane = spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
  spec.add_mesh(name='hull', uservert=(body.hull - body.center).astype(np.float64).ravel(),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
  (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.inertia
  thing = spec.worldbody.add_body(name='body', explicitinertial=True, mass=float(body.mass),
                                  ipos=[0, 0, 0], fullinertia=[xx, yy, zz, xy, xz, yz])
  thing.add_freejoint()
  hull = thing.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname='hull')
  for geom in (plane, hull):
    geom.friction[0] = friction
  return _compiled(spec)


def legacy_figures(mesh, density=1000.0, scale=1.0):
  """(mass [], center [3], inertia [3, 3]) of a Mesh times `scale` by MuJoCo's 'legacy' inertia.

  DSO's labels use these values. They do not depend on the winding and overestimate the volume of a
  concave mesh.
  """
  vertices, faces = meshes.checked(mesh)
  used, faces = np.unique(faces, return_inverse=True)
  vertices = vertices[used] * scale
  middle = 0.5 * (vertices.min(0) + vertices.max(0))  # MuJoCo takes coordinates in float32
  spec = mujoco.MjSpec()
  spec.add_mesh(name='mesh', uservert=(vertices - middle).ravel(), userface=faces.ravel(),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_LEGACY)
  thing = spec.worldbody.add_body()
  thing.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname='mesh', density=density)
  model = _compiled(spec)
  axes = _matrix(model.body_iquat[1])
  return (model.body_mass[1], model.body_ipos[1] + middle,
          axes * model.body_inertia[1] @ axes.T)


def with_legacy_inertia(body, mesh, density=1000.0):
  """The Body of a Mesh with `legacy_figures`, for labels as DSO's."""
  mass, center, inertia = legacy_figures(mesh, density, body.scale)
  return body.replace(mass=mass, center=center, inertia=inertia)


def _compiled(spec):
  try:
    return spec.compile()
  except ValueError as error:
    reason = str(error).splitlines()[0].removeprefix('Error: ')
    raise MeshError(f'MuJoCo cannot simulate this body: {reason}') from error


def release(model, body, tilt=(0.0, 0.0, 0.0), data=None):
  """mujoco.MjData with the body at rest, turned by `tilt`, its lowest vertex on the plane.

  `data` of the same model is reused if given, because creating one costs hundreds of steps.
  """
  if data is None:
    data = mujoco.MjData(model)
  mujoco.mj_resetData(model, data)
  angle = np.linalg.norm(tilt)
  quaternion = np.array([1.0, 0.0, 0.0, 0.0])
  if angle > 0:
    mujoco.mju_axisAngle2Quat(quaternion, np.asarray(tilt, np.float64) / angle, angle)
  height = -(_matrix(quaternion) @ (body.hull - body.center).T)[2].min()
  data.qpos[:] = *body.center[:2], height, *quaternion
  return data


def settle(model, data, body, seconds, threshold_deg=20.0, fps=None):
  """The Drop of `seconds` from the state in `data`, which it changes."""
  with quiet():
    times, qpos, qvel, diverged = follow(model, data, body, seconds, fps)
  frames = [_pose(row, body) for row in (qpos if fps else qpos[-1:])]
  position, quaternion = frames[-1]
  rotation = float('nan') if diverged else float(rotation_deg(quaternion))
  motion = Motion(times, *(np.array(column) for column in zip(*frames))) if fps else None
  return Drop(stable=bool(rotation < threshold_deg), rotation_deg=rotation, position=position,
              quaternion=quaternion, diverged=diverged,
              settled=not diverged and bool(resting(qvel[-1], body.hull)), motion=motion)


def follow(model, data, body, seconds, fps=None):
  """(times [T], qpos [T, 7], qvel [T, 6], diverged) of the `seconds` that follow the state in data.

  T is about CHECKS, or by `fps`; the last row is the end, the first state that is not `sound`, or
  the state after a warning of MuJoCo. Run it within `quiet`.
  """
  timestep = model.opt.timestep
  total = max(round(seconds / timestep), 1)
  stride = max(round(1 / (fps * timestep)), 1) if fps else -(-total // CHECKS)
  position, velocity, warnings = data.qpos, data.qvel, data.warning.number[WARNINGS]  # views
  rows, count, done, warned = np.empty((1 - (-total // stride), 14)), 0, 0, False

  def record():
    rows[count, 0], rows[count, 1:8], rows[count, 8:] = data.time, position, velocity
  record()
  while done < total and not warned:
    steps = min(stride, total - done)
    mujoco.mj_step(model, data, nstep=steps)
    done, count, warned = done + steps, count + 1, bool(warnings.any())
    record()
  rows = rows[:count + 1]
  times, qpos, qvel = rows[:, 0], rows[:, 1:8], rows[:, 8:]
  with np.errstate(all='ignore'):
    bad = ~sound(qpos, qvel, body.hull - body.center, body.mass, body.inertia, qpos[0], qvel[0])
  bad[0], bad[-1] = False, bad[-1] | warned
  rows = slice(1 + (np.argmax(bad) if bad.any() else len(bad)))
  return times[rows], qpos[rows], qvel[rows], bool(bad.any())


def sound(qpos, qvel, hull, mass, inertia, qpos0, qvel0):
  """Whether states (qpos [..., 7], qvel [..., 6]) are physically possible after (qpos0, qvel0).

  That is finite, with a gain of energy of at most GAIN, and not below the plane. `hull` [K, 3] and
  `inertia` [3, 3] are about the centre of mass. For NumPy and JAX arrays.
  """
  w, x, y, z = (qpos[..., i, None] for i in range(3, 7))
  heights = (2 * (x * z - w * y) * hull[:, 0] + 2 * (y * z + w * x) * hull[:, 1]
             + (1 - 2 * (x * x + y * y)) * hull[:, 2])
  size = (hull.max(0) - hull.min(0)).max()
  limit = _energy(qpos0, qvel0, mass, inertia) + GAIN * size * mass * GRAVITY
  return ((abs(qpos).sum(-1) < float('inf')) & (_energy(qpos, qvel, mass, inertia) <= limit)
          & (qpos[..., 2] + heights.min(-1) >= -GAIN * size))


def resting(qvel, hull):
  """Whether a body with these velocities [..., 6] is at rest. For NumPy and JAX arrays."""
  size = (hull.max(0) - hull.min(0)).max()
  speed = (qvel[..., :3]**2).sum(-1)**0.5 + size * (qvel[..., 3:]**2).sum(-1)**0.5
  return speed < REST * (GRAVITY * size)**0.5


def path(motion):
  """The poses of a Motion as transforms [T, 4, 4] of the mesh's points."""
  poses = np.tile(np.eye(4), (len(motion.times), 1, 1))
  poses[:, :3, :3] = [_matrix(q) for q in motion.quaternions]
  poses[:, :3, 3] = motion.positions
  return poses


def rotation_deg(quaternion):
  """The angle in [0, 180] degrees of turns [..., 4] (w, x, y, z); q and -q are one turn."""
  imaginary = np.linalg.norm(quaternion[..., 1:], axis=-1)
  return np.rad2deg(2 * np.arctan2(imaginary, np.abs(quaternion[..., 0])))


@contextlib.contextmanager
def quiet():
  """Suppresses MuJoCo's printing and logging of warnings; mjData counts them all the same."""
  mujoco.set_mju_user_warning(lambda text: None)
  try:
    yield
  finally:
    mujoco.set_mju_user_warning(None)


def _energy(qpos, qvel, mass, inertia):
  """Potential (0 at z = 0) plus kinetic; the spin is in the body's axes."""
  spin = qvel[..., 3:]
  return (mass * (0.5 * (qvel[..., :3]**2).sum(-1) + GRAVITY * qpos[..., 2])
          + 0.5 * (spin @ inertia * spin).sum(-1))


def _pose(qpos, body):
  """(position, quaternion) of the transform of the mesh, before any tilt, to a state."""
  quaternion = qpos[3:] / np.linalg.norm(qpos[3:])
  return (qpos[:3] - _matrix(quaternion) @ body.center) / body.scale, quaternion


def _matrix(quaternion):
  flat = np.empty(9)
  mujoco.mju_quat2Mat(flat, np.asarray(quaternion, np.float64))
  return flat.reshape(3, 3)

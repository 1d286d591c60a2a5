"""The bodies of an MJCF file.

MuJoCo compiles what `text` makes of a file, and a body is what it has compiled, so that masses,
densities, inertials and all settings of the compiler count. Frames are MuJoCo's: +z up.
"""

import functools
import threading
from typing import NamedTuple

import mujoco
import numpy as np
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.export.mjcf import text
from jax3dgen.physics import native

SEGMENTS = 96  # of the circle of a cylinder or capsule
VISIBLE_GROUPS = 3  # MuJoCo's viewers show geom groups 0 to 2; collision shapes are in higher ones
GROUND = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD)
ONE_AT_A_TIME = threading.Lock()  # MuJoCo has one handler of warnings for all threads
DISABLED = mujoco.mjtDisableBit.mjDSBL_GRAVITY | mujoco.mjtDisableBit.mjDSBL_CONTACT
LEVEL = 1e-6  # of the vertical: planes this close to it are level


class Solid(NamedTuple):
  """A body of a file with all that its joints carry, in the world frame of the initial pose.

  parts: [(vertices [V, 3], faces [F, 3], colours [V, 3] or None)] of the geoms that are visible.
  contact [K, 3]: points whose convex hull touches the ground. mass [], center [3] of mass, inertia
  [3, 3] about it.
  """
  name: str
  parts: list
  contact: np.ndarray
  mass: float
  center: np.ndarray
  inertia: np.ndarray
  notes: tuple


def solids(data, folder, most):
  """([Solid], files): the bodies of an MJCF file (bytes) below `folder`, and all files opened.

  They are the free bodies, or all bodies on the world in a file without free ones. A body is rigid:
  its joints keep their initial pose. Geoms are boxes, meshes (at most `most` vertices or faces),
  and spheres, ellipsoids, cylinders and capsules as inscribed polyhedra within 0.12 % of the
  radius. If a body has visual and collision geoms, only the visual ones are its parts: those of the
  groups that MuJoCo's viewers show. Raises MeshError for a file that is not read.
  """
  source = text.whole(data, folder, most)
  model, contacts = _compile(source)
  state = mujoco.MjData(model)
  mujoco.mj_kinematics(model, state)
  root = model.body_rootid[model.geom_bodyid]
  solid = ~np.isin(model.geom_type, GROUND)
  top = [b for b in np.unique(root[solid]) if b and model.body_mocapid[b] < 0]
  free = [b for b in top if (model.jnt_type[model.body_jntadr[b]:][:model.body_jntnum[b]]
                             == mujoco.mjtJoint.mjJNT_FREE).any()]
  chosen = free or top
  if not chosen:
    raise MeshError('the file has no solid.')
  touching = _touching(model, contacts, ~solid | ~np.isin(root, chosen))
  notes = [*source.notes, *_notes(model, state)]
  others = int((solid & ~np.isin(root, chosen)).sum())
  if others:
    place = 'outside the free bodies' if free else 'of the world'
    notes.append(f'{_count(others, "geom")} {place} left out')
  if len(chosen) > 1:
    notes.append(f'one of {len(chosen)} bodies of the file')
  result = []
  for number, b in enumerate(chosen, 1):
    name = model.body(b).name or str(number)
    result.append(_solid(model, state, b, solid & (root == b), touching,
                         name if len(chosen) > 1 else '', notes, most))
  return result, source.files


def _solid(model, state, b, geoms, touching, name, notes, most):
  shapes, count = {}, 0
  for k in np.flatnonzero(geoms):
    shapes[k] = _shape(model, state, k)
    count += max(map(len, shapes[k]))
    if count > most:
      raise MeshError(f'the file places more than {most} vertices or faces.')
  joints = int((model.body_rootid[model.jnt_bodyid] == b).sum())
  is_free = (model.jnt_type[model.jnt_bodyid == b] == mujoco.mjtJoint.mjJNT_FREE).any()
  if not is_free:
    notes = [*notes, 'judged as a free body, which it is not in the file']
  if joints - is_free:
    notes = [*notes, f'{_count(joints - is_free, "joint")} frozen']
  aloof = geoms & ~touching
  if aloof.any():
    notes = [*notes, f'{_count(int(aloof.sum()), "geom")} without contact']
  visible = geoms & (model.geom_group < VISIBLE_GROUPS)
  parts = []
  for k in np.flatnonzero(visible if visible.any() else geoms):
    rgba = model.geom_rgba[k]
    is_default = np.allclose(rgba, (0.5, 0.5, 0.5, 1.0))
    parts.append((*shapes[k], None if is_default else
                  np.broadcast_to(rgba[:3], shapes[k][0].shape)))
  contact = [shapes[k][0] for k in np.flatnonzero(geoms & touching)]
  return Solid(name, parts, np.concatenate([np.zeros((0, 3)), *contact]),
               *_mass_properties(model, state, b), tuple(dict.fromkeys(notes)))


def _mass_properties(model, state, b):
  """(mass, centre [3], inertia [3, 3] about it) of the body b with all that it carries."""
  ids = np.flatnonzero(model.body_rootid == b)
  masses, centers = model.body_mass[ids], state.xipos[ids]
  mass = masses.sum()
  center = masses @ centers / mass if mass > 0 else centers.mean(0)
  axes, offset = state.ximat[ids].reshape(-1, 3, 3), centers - center
  square = np.einsum('bi,bi->b', offset, offset)[:, None, None] * np.eye(3)
  inertia = (np.einsum('bij,bj,bkj->ik', axes, model.body_inertia[ids], axes)
             + np.einsum('b,bij->ij', masses, square - offset[:, :, None] * offset[:, None]))
  return float(mass), center, inertia


def _touching(model, contacts, ground):
  """[G] whether a geom collides with those of the `ground` [G], or with a plane of MuJoCo's
  defaults where the file has no plane: by the bits of both, or by a pair of the file."""
  others = contacts[ground]
  if not (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE).any():
    others = np.concatenate([others, [(1, 1)]])
  kind, affinity = contacts[:, :1], contacts[:, 1:]
  touching = ((kind & others[:, 1] != 0) | (affinity & others[:, 0] != 0)).any(1)
  for pair in np.stack([model.pair_geom1, model.pair_geom2], 1):
    if ground[pair].any():
      touching[pair] = True
  return touching


def _notes(model, state):
  """What MuJoCo would simulate and a drop on the level ground does not have."""
  plane = model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
  level = state.geom_xmat[plane, 8] > 1 - LEVEL
  gravity = model.opt.gravity
  free = model.jnt_type == mujoco.mjtJoint.mjJNT_FREE
  dofs = free[model.dof_jntid]
  facts = {
      'planes that are not level left out': not level.all(),
      'contact excludes left out': model.nexclude > 0,
      'gravcomp left out': model.body_gravcomp.any(),
      'flags without gravity or contact left out': model.opt.disableflags & DISABLED,
      'gravity taken as along -z': not -gravity[2] >= (1 - LEVEL) * np.linalg.norm(gravity) > 0,
      'wind and fluid left out': model.opt.density > 0 or model.opt.viscosity > 0,
      'friction left out': not np.allclose(model.geom_friction[~plane, 0], 1.0) or (
          model.geom_condim[~plane] == 1).any(),
      'contact margins left out': model.geom_margin.any(),
      'stiffness, damping and armature of free joints left out': (
          model.jnt_stiffness[free].any() or (
              model.dof_damping + model.dof_armature + model.dof_frictionloss)[dofs].any())}
  return [note for note, holds in facts.items() if holds]


def _count(number, noun):
  return f'{number} {noun}{"" if number == 1 else "s"}'


def _compile(source):
  """(MjModel, (contype, conaffinity) [G, 2] of its geoms) of a `text.Whole`."""
  with ONE_AT_A_TIME, native.quiet():
    try:
      spec = mujoco.MjSpec.from_string(source.text)
      for mesh in spec.meshes:
        if mesh.name in source.meshes:
          vertices, faces = source.meshes[mesh.name]
          mesh.uservert, mesh.userface = vertices.ravel(), faces.ravel()
        elif not len(mesh.userface):
          _close(mesh)
      spec.compiler.fusestatic = spec.compiler.discardvisual = False  # bodies and geoms keep apart
      contacts = [(geom.contype, geom.conaffinity) for geom in spec.geoms]
      for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0  # then MuJoCo computes no hull
      model = spec.compile()
    except ValueError as error:
      raise MeshError(f'MuJoCo does not read this: {" ".join(str(error).split())}.') from error
  return model, np.array(contacts, np.int64)[np.argsort([geom.id for geom in spec.geoms])]


def _close(mesh):
  """Makes the points of an MjsMesh without faces their hull: MuJoCo's own Qhull prints messages.
  What are no points is left for MuJoCo to name."""
  numbers = np.array(mesh.uservert)
  if len(numbers) >= 12 and len(numbers) % 3 == 0 and np.isfinite(numbers).all():
    hull = trimesh.convex.convex_hull(numbers.reshape(-1, 3))
    mesh.uservert, mesh.userface = hull.vertices.ravel(), hull.faces.ravel()


def _shape(model, state, k):
  """Vertices and faces of a geom in the world frame."""
  vertices, faces = _own_shape(model, k)
  # Not `@`: threads of a BLAS cost more than they bring on arrays this narrow.
  points = np.einsum('vj,ij->vi', vertices, state.geom_xmat[k].reshape(3, 3))
  return points + state.geom_xpos[k], faces


def _own_shape(model, k):
  """Vertices and faces of a geom in its own frame."""
  kind, size = mujoco.mjtGeom(model.geom_type[k]), model.geom_size[k]
  if kind == mujoco.mjtGeom.mjGEOM_MESH:
    mesh = model.geom_dataid[k]
    vertex, face = model.mesh_vertadr[mesh], model.mesh_faceadr[mesh]
    return (model.mesh_vert[vertex:vertex + model.mesh_vertnum[mesh]].astype(np.float64),
            model.mesh_face[face:face + model.mesh_facenum[mesh]].astype(np.int64))
  if kind == mujoco.mjtGeom.mjGEOM_BOX:
    surface, scale = _unit('box'), size
  elif kind in (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_ELLIPSOID):
    surface = _unit('sphere')
    scale = size if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID else size[0]
  elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
    surface, scale = _unit('cylinder'), size[[0, 0, 1]]
  elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
    surface = trimesh.creation.capsule(2 * size[1], size[0], count=[SEGMENTS // 2, SEGMENTS])
    scale = 1.0
  else:
    raise MeshError(f'the file has a geom of type {kind.name[7:].lower()}, which is not read.')
  return surface.vertices * scale, np.asarray(surface.faces, np.int64)


@functools.cache
def _unit(kind):
  """The surface of half sizes 1."""
  if kind == 'box':
    return trimesh.creation.box((2.0, 2.0, 2.0))
  if kind == 'sphere':
    return trimesh.creation.icosphere(4)
  return trimesh.creation.cylinder(1.0, 2.0, sections=SEGMENTS)

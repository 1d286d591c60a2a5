"""MJCF, MuJoCo's XML: reads the solids of a file, writes a mesh as a free body above a plane.

Frames are MuJoCo's: +z up. No file that an MJCF file refers to is opened: MuJoCo compiles a copy
that holds only shapes and frames.
"""

from xml.etree import ElementTree

import mujoco
import numpy as np
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.physics import body as bodies
from jax3dgen.scene import mesh as meshes

MAX_BYTES = 2**27
MAX_TAGS = 2**18
MAX_GEOMS = 10**4
SEGMENTS = 96  # of the circle of a cylinder or capsule
VISIBLE_GROUPS = 3  # MuJoCo's viewers show geom groups 0 to 2; collision shapes are in higher ones
POSE = {'pos', 'quat', 'axisangle', 'euler', 'xyaxes', 'zaxis'}
ATTRIBUTES = {  # of the tags that are copied: those of shapes and frames
    'mujoco': set(), 'asset': set(), 'worldbody': {'childclass'}, 'default': {'class'},
    'compiler': {'angle', 'eulerseq', 'fitaabb', 'coordinate'},
    'mesh': {'name', 'class', 'vertex', 'face', 'scale', 'refpos', 'refquat'},
    'body': POSE | {'childclass'}, 'frame': POSE | {'childclass'},
    'geom': POSE | {'class', 'type', 'size', 'fromto', 'mesh', 'fitscale', 'group', 'rgba'},
}
UNSUPPORTED = {'attach', 'composite', 'flexcomp', 'include', 'model', 'replicate', 'skin'}  # shapes


def parts(data):
  """Yields (vertices [V, 3], faces [F, 3], colours [V, 3] or None) of each solid, in world frame.

  Solids are the meshes whose vertices are in the file and the boxes, spheres, ellipsoids, cylinders
  and capsules (the round ones as inscribed polyhedra) of all bodies at their initial pose; planes
  and height fields are ground. If a file has visual and collision geoms, only the visual ones
  count: those of the groups that MuJoCo's viewers show.
  """
  model = _compile(_geometry(data))
  state = mujoco.MjData(model)
  mujoco.mj_kinematics(model, state)
  solid = model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE
  visible = solid & (model.geom_group < VISIBLE_GROUPS)
  for k in np.flatnonzero(visible if visible.any() else solid):
    vertices, faces = _shape(model, k)
    # Not `@`: threads of a BLAS cost more than they bring on arrays this narrow.
    points = np.einsum('vj,ij->vi', vertices, state.geom_xmat[k].reshape(3, 3))
    rgba = model.geom_rgba[k]
    is_default = np.allclose(rgba, (0.5, 0.5, 0.5, 1.0))
    yield (points + state.geom_xpos[k], faces,
           None if is_default else np.broadcast_to(rgba[:3], vertices.shape))


def encode(mesh):
  """MuJoCo XML (bytes): the `physics.body` of a mesh on a plane, as `physics.native` drops it.

  The hull collides (group 3, which viewers hide); the surface is visible and does not collide. A
  mesh far from the origin is placed there by its body.
  """
  mesh, offset = meshes.near_origin(mesh)
  body = bodies.from_mesh(mesh)
  x, y, _ = offset * body.scale
  (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.inertia
  color = np.full(3, 0.7) if mesh.colors is None else mesh.colors.mean(0)
  return f'''<mujoco model="jax3dgen">
  <asset>
    <mesh name="hull" inertia="convex" vertex="{_text(body.hull)}"/>
    <mesh name="surface" inertia="shell" vertex="{_text(mesh.vertices * body.scale)}"
      face="{_text(mesh.faces)}"/>
  </asset>
  <worldbody>
    <light pos="0 0 {_text(4 * np.ptp(body.hull[:, 2]))}"/>
    <geom name="floor" type="plane" size="0 0 1" rgba="0.9 0.9 0.9 1"/>
    <body name="body" pos="{_text([x, y, -body.hull[:, 2].min()], 17)}">
      <freejoint/>
      <inertial pos="{_text(body.center)}" mass="{_text(body.mass)}"
        fullinertia="{_text([xx, yy, zz, xy, xz, yz])}"/>
      <geom type="mesh" mesh="hull" group="3"/>
      <geom type="mesh" mesh="surface" contype="0" conaffinity="0" rgba="{_text(color)} 1"/>
    </body>
  </worldbody>
</mujoco>
'''.encode()


def _text(array, digits=9):
  return ' '.join(f'{value:.{digits}g}' for value in np.ravel(array))


def _geometry(data):
  """MJCF (text) with only the shapes and frames of a file, so that MuJoCo opens no other file."""
  if len(data) > MAX_BYTES or data.count(b'<') > MAX_TAGS:
    raise MeshError(f'the file has more than {MAX_BYTES >> 20} MB or {MAX_TAGS} tags.')
  text = data.decode()
  if '<!DOCTYPE' in text or '<!ENTITY' in text:
    raise MeshError('the file defines entities, which are not read.')
  root = ElementTree.fromstring(text)
  if root.tag != 'mujoco':
    raise MeshError('this is no MJCF file.')
  for element in root.iter():
    if element.tag in UNSUPPORTED:
      raise MeshError(f'the file uses <{element.tag}>, which is not read.')
    if element.tag == 'mesh' and element.attrib.keys() & {'file', 'builtin'}:
      raise MeshError('the file keeps its triangles outside itself; nothing else is opened.')
  if sum(1 for _ in root.iter('geom')) > MAX_GEOMS:
    raise MeshError(f'the file has more than {MAX_GEOMS} geoms.')
  return ElementTree.tostring(_copy(root), encoding='unicode')


def _copy(element):
  copy = ElementTree.Element(element.tag, {
      name: value for name, value in element.items() if name in ATTRIBUTES[element.tag]})
  if element.tag == 'geom':
    copy.attrib |= {'contype': '0', 'conaffinity': '0'}  # then MuJoCo computes no hull
  if element.tag == 'mesh' and 'vertex' in copy.attrib:
    copy.set('inertia', 'shell')  # then a mesh need not be a closed solid
    if 'face' not in copy.attrib:  # the hull; MuJoCo's own Qhull prints its messages
      hull = trimesh.convex.convex_hull(np.array(copy.get('vertex').split(), float).reshape(-1, 3))
      copy.attrib |= {'vertex': _text(hull.vertices), 'face': _text(hull.faces)}
  copy.extend(_copy(child) for child in element
              if child.tag in ATTRIBUTES and 'hfield' not in child.keys())
  return copy


def _compile(text):
  mujoco.set_mju_user_warning(lambda text: None)  # MuJoCo would write them into a file
  try:
    return mujoco.MjModel.from_xml_string(text)
  except ValueError as error:
    raise MeshError(f'MuJoCo does not read this: {" ".join(str(error).split())}.') from error
  finally:
    mujoco.set_mju_user_warning(None)


def _shape(model, k):
  """Vertices and faces of a geom in its own frame."""
  kind, size = mujoco.mjtGeom(model.geom_type[k]), model.geom_size[k]
  if kind == mujoco.mjtGeom.mjGEOM_MESH:
    mesh = model.geom_dataid[k]
    vertex, face = model.mesh_vertadr[mesh], model.mesh_faceadr[mesh]
    return (model.mesh_vert[vertex:vertex + model.mesh_vertnum[mesh]].astype(np.float64),
            model.mesh_face[face:face + model.mesh_facenum[mesh]].astype(np.int64))
  if kind == mujoco.mjtGeom.mjGEOM_BOX:
    surface, scale = trimesh.creation.box((2.0, 2.0, 2.0)), size
  elif kind in (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_ELLIPSOID):
    surface = trimesh.creation.icosphere(4)
    scale = size if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID else size[0]
  elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
    surface = trimesh.creation.cylinder(1.0, 2.0, sections=SEGMENTS)
    scale = size[[0, 0, 1]]
  elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
    surface = trimesh.creation.capsule(2 * size[1], size[0], count=[SEGMENTS // 2, SEGMENTS])
    scale = 1.0
  else:
    raise MeshError(f'the file has a geom of type {kind.name[7:].lower()}, which is not read.')
  return surface.vertices * scale, np.asarray(surface.faces, np.int64)

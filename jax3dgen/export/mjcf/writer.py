"""A mesh as an MJCF file: a free body above a plane. Frames are MuJoCo's: +z up."""

import numpy as np

from jax3dgen.physics import body as bodies
from jax3dgen.scene import mesh as meshes


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

"""Stability losses of a shape: those of Atlas3D, and a loss on the support margin.

All are scalars [] for one shape (`jax.vmap` for more), differentiable with respect to the vertices
of a mesh, +z up, through `penalty.of_mesh`. Lengths are in units of the mesh.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import extremum
from jax3dgen.physics import penalty, quaternion, rest
from jax3dgen.scene import mesh_regularizers

TILTS = np.linspace(0.01, 0.1, 10)  # radians, of the stable equilibrium
AZIMUTHS = 2 * np.pi * np.arange(20) / 20
BAND = 0.02  # height above the lowest vertex below which vertices are the bottom


def standability(item, tilt=(0.0, 0.0, 0.0), seconds=0.3, rollout=penalty.rollout):
  """||R(T) - R(0)||_F^2 = 4 (1 - cos theta), in [0, 8], for the turn theta within `seconds`.

  `item` is a `body.Packed` without its leading axis, released at rest and turned by `tilt`
  (axis times radians); `rollout` is that of `penalty` or of `mjx_batch`. 0, without a gradient,
  where the simulation is not finite. Atlas3D evaluates it every tenth step, with T from 0.5 s up to
  2 s as shapes improve; gradients are of little use beyond that.
  """
  tilt = jnp.asarray(tilt, float)
  end, _ = rollout(item, tilt, seconds)
  finite = jnp.isfinite(end).all()
  return rotation_loss(jnp.where(finite, end, quaternion.from_vector(tilt)),
                       quaternion.from_vector(tilt))


def rotation_loss(end, start):
  """4 (1 - cos theta) [] of the angle theta between two quaternions [4]."""
  inverse = start * jnp.array([1.0, -1.0, -1.0, -1.0])
  return 8 * jnp.sum(quaternion.product(end, inverse)[1:]**2)


def equilibrium(vertices, center):
  """Atlas3D's stable-equilibrium loss: by how much a tilt lowers the centre of mass.

  vertices [V, 3], center [3] of mass; the mean over ten tilts up to 0.1 rad in twenty directions of
  the decrease (or 0) of the centre's height above the lowest vertex. 0 for every shape whose
  support margin is 0.1 rad or more. The paper's shapes fill a sphere of radius 1.
  """
  x, y, z = (vertices - center[None]).T
  height = -extremum.lowest(z)

  def decrease(side):
    out = x * jnp.cos(side) + y * jnp.sin(side)
    height_at = lambda tilt: -extremum.lowest(z * jnp.cos(tilt) + out * jnp.sin(tilt))
    return jax.nn.relu(height - jax.vmap(height_at)(jnp.asarray(TILTS, z.dtype)))
  return jax.vmap(decrease)(jnp.asarray(AZIMUTHS, z.dtype)).mean()


def bottom_laplacian(vertices, links):
  """Atlas3D's flatness loss: mean |z| of the uniform Laplacian over the bottom vertices.

  links [E, 2] are the edges in both directions; the bottom vertices are less than BAND above the
  lowest one.
  """
  z = vertices[:, 2]
  bottom = jax.lax.stop_gradient(z < z.min() + BAND)
  rough = jnp.abs(mesh_regularizers.laplacian(vertices, links)[:, 2])
  return jnp.sum(jnp.where(bottom, rough, 0.0)) / jnp.maximum(bottom.sum(), 1)


def margin_loss(item, target, tilts=((0.0, 0.0, 0.0),)):
  """The shortfall [] of the settled support margin (`rest.margin`) from `target`, in radians.

  The mean over tilts [P, 3] of a body (a `body.Packed` without its leading axis). Margins of bodies
  that fall are negative.
  """
  packed = jax.tree.map(lambda x: jnp.asarray(x, float)[None], item)
  return jax.nn.relu(target - rest.margin(packed, jnp.asarray(tilts, float))).mean()

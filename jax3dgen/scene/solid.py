"""Volume, centre of mass and inertia of the solid that a closed triangle mesh bounds.

Divergence theorem: the solid is the signed sum of the tetrahedra (reference point, a, b, c) over
the faces, so holes and concavities count correctly. The reference point is the mean face corner,
which keeps float32 accurate for meshes far from the origin; the sums do not depend on it when the
mesh is closed, hence no gradient passes through it.

Axes: V vertices, F faces. Density is 1; lengths are the mesh's own. Differentiable with respect to
the vertices; `jax.vmap` gives batches. Faces that repeat a vertex (padding) add nothing, and
vertices without a face have no influence.
"""

from flax import struct
import jax
import jax.numpy as jnp

from jax3dgen.core.types import Array


@struct.dataclass
class Solid:
  """Volume [], centre of mass [3], and inertia [3, 3] about that centre in the mesh's axes."""
  volume: Array
  center: Array
  inertia: Array


def solid(vertices, faces):
  """The uniform unit-density solid of vertices [V, 3] and faces [F, 3].

  Reversing all faces changes nothing. A mesh without volume has its mean corner as the centre and
  zero inertia.
  """
  corners = vertices[faces]  # [F, 3 corners, 3]
  reference = jax.lax.stop_gradient(corners.mean((0, 1)))
  a, b, c = jnp.moveaxis(corners - reference[None, None, :], 1, 0)
  six = jnp.sum(a * jnp.cross(b, c), -1)  # six times the signed volume of each tetrahedron
  six = jnp.where(six.sum() < 0, -six, six)
  volume = six.sum() / 6
  total = a + b + c
  safe = jnp.where(volume > 0, volume, 1.0)
  center = jnp.sum(six[:, None] * total, 0) / (24 * safe)
  second = sum(_outer(six, p) for p in (a, b, c, total)) / 120  # integral of x x^T
  second = second - volume * center[:, None] * center[None, :]
  inertia = jnp.trace(second) * jnp.eye(3, dtype=second.dtype) - second
  return Solid(volume, reference + center, inertia)


def _outer(weight, point):
  """Sum over faces of weight [F] times point point^T, point [F, 3] -> [3, 3]."""
  return jnp.sum((weight[:, None] * point)[:, :, None] * point[:, None, :], 0)

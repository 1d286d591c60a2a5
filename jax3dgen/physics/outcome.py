"""The Outcome record of drop tests, which every engine returns, and stability labels."""

from flax import struct
import jax.numpy as jnp

from jax3dgen.core.types import Array


@struct.dataclass
class Outcome:
  """The ends of B bodies under P tilts.

  quaternion [B, P, 4] (w, x, y, z) rotates the mesh before any tilt to its final orientation;
  position [B, P, 3] is its final centre of mass, the plane at z = 0; rotation_deg [B, P] in
  [0, 180] is the angle of that rotation, NaN where the simulation `diverged` [B, P]; `settled`
  [B, P] is true where the body came to rest. `errors` has the reason for each body that the engine
  refuses, which has no figures, and '' for the others; () where it refuses none.
  """
  quaternion: Array
  position: Array
  rotation_deg: Array
  diverged: Array
  settled: Array
  errors: tuple = struct.field(pytree_node=False, default=())


def rotation_deg(quaternion):
  """The angle in [0, 180] degrees of turns [..., 4]; q and -q are one turn. Differentiable but at
  the angle 0."""
  return jnp.rad2deg(2 * jnp.arctan2(jnp.linalg.norm(quaternion[..., 1:], axis=-1),
                                     jnp.abs(quaternion[..., 0])))


def of(quaternion, position, diverged, settled):
  """The Outcome of final states, with `rotation_deg` computed."""
  angle = jnp.where(diverged, jnp.nan, rotation_deg(quaternion))
  return Outcome(quaternion, position, angle, diverged, settled & ~diverged)


def stable(outcome, threshold_deg=20.0):
  """Stability labels [B, P]: rotation below the threshold and not diverged (DSO's rule)."""
  return (outcome.rotation_deg < threshold_deg) & ~outcome.diverged

"""Shared parts of the JAX engines: initial state, simulation loop with checks, final pose.

A state is that of MuJoCo's free joint: qpos [7] = centre of mass and quaternion (w, x, y, z), qvel
[6] = velocity in the world's axes and spin in the body's. Functions take one body and one tilt;
`item` is a `body.Packed` without its leading axis.
"""

import jax
import jax.numpy as jnp

from jax3dgen.core import extremum
from jax3dgen.physics import native, outcome, quaternion


def release(hull, tilt):
  """(qpos, qvel) at rest, turned by `tilt` (axis times radians), the lowest vertex on the plane."""
  turn = quaternion.from_vector(tilt)
  height = -extremum.lowest(hull @ quaternion.matrix(turn)[2])
  return (jnp.concatenate([jnp.zeros_like(hull, shape=2), height[None], turn]),
          jnp.zeros_like(hull, shape=6))


def integrate(step, state, read, item, total, stride):
  """The Outcome of one world after `total` times `step(state)`, checked every `stride` steps.

  `read(state)` is (qpos, qvel). It has diverged where a check fails `native.sound`.
  """
  start = read(state)

  def check(k, carry):
    state, sound = carry
    state = jax.lax.fori_loop(0, jnp.minimum(stride, total - k * stride), lambda _, s: step(s),
                              state)
    return state, sound & native.sound(*read(state), item.hull, item.mass, item.inertia, *start)

  state, sound = jax.lax.fori_loop(0, (total + stride - 1) // stride, check,
                                   (state, jnp.array(True)))
  qpos, qvel = read(state)
  return outcome.of(*end(qpos, item.center), ~sound, native.resting(qvel, item.hull))


def steps(seconds, timestep):
  """[total, stride]: the number of steps, and of steps between two checks."""
  total = jnp.maximum(jnp.round(jnp.asarray(seconds / timestep)), 1).astype(int)
  return jnp.stack([total, -(-total // native.CHECKS)])


def end(qpos, center):
  """(quaternion [4], position [3] of the centre of mass), for a body released above the origin."""
  offset = jnp.asarray(center, float) * jnp.array([1.0, 1.0, 0.0])
  return qpos[3:] / jnp.linalg.norm(qpos[3:]), qpos[:3] + offset


@jax.custom_vjp
def finite_gradients(tree):
  """The tree; a gradient through it that is not finite becomes 0 as a whole."""
  return tree


def _finite_or_zero(_, gradient):
  finite = jnp.all(jnp.array([jnp.isfinite(x).all() for x in jax.tree.leaves(gradient)]))
  return (jax.tree.map(lambda x: jnp.where(finite, x, jnp.zeros_like(x)), gradient),)


finite_gradients.defvjp(lambda tree: (tree, None), _finite_or_zero)

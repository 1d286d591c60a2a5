"""Rigid-body dynamics with penalty contacts in pure JAX: the fastest engine with useful gradients.

Each hull vertex below the plane has a spring, a damper and friction (the contact model of Atlas3D's
simulator; its constants are absolute, these scale with the weight). All forces are proportional to
the mass, which cancels: only accelerations are computed. One vertex that carries the whole weight
sinks in by SAG, n vertices by SAG / n. The dampers together have the damping ratio DAMPING for any
number of contacts, and grow with the depth, so that forces are continuous. Friction is Coulomb
above a sliding speed and viscous below: SLIP, or, where one step at SLIP would overshoot
(wide feet under a slender body), the speed that one step can stop. Semi-implicit Euler; with these
constants steps of up to 2 ms are stable.

`rollout` is differentiable with respect to the hull (and so the centre of mass) and the inertia,
and `of_mesh` computes both, differentiably, from a mesh's vertices. Gradients are of little use
beyond half a second: impacts are chaotic.

States and items are those of `worlds`; K is the number of hull vertices.
"""

import chex
import jax
import jax.numpy as jnp

from jax3dgen.core import extremum
from jax3dgen.physics import quaternion, worlds
from jax3dgen.physics.body import Packed
from jax3dgen.physics.native import GRAVITY
from jax3dgen.scene.solid import solid

SAG = 2e-3  # of one vertex that carries all, in units of length
DAMPING = 0.2
SLIP = 0.1  # units of length per second


def simulate(packed, tilts, seconds=10.0, timestep=2e-3, friction=1.0):
  """The Outcome [B, P] of `body.Packed` bodies released upright and turned by tilts [P, 3].

  Tilts are axis times angle in radians; positions are in the bodies' own (scaled) units. A world
  diverges by `native.sound`, independently of the others.
  """
  def world(item, tilt):
    return worlds.integrate(_stepper(item, timestep, friction), worlds.release(item.hull, tilt),
                            lambda state: state, item, *worlds.steps(seconds, timestep))

  packed, tilts = jax.tree.map(lambda x: jnp.asarray(x, float), packed), jnp.asarray(tilts, float)
  chex.assert_shape([packed.hull, tilts], [(None, None, 3), (None, 3)])
  return jax.vmap(jax.vmap(world, (None, 0)), (0, None))(packed, tilts)


def rollout(item, tilt=(0.0, 0.0, 0.0), seconds=0.3, timestep=2e-3, friction=1.0):
  """(quaternion [4], position [3] of the centre of mass) of one body after `seconds`.

  Differentiable with respect to the hull, mass and inertia of `item`, a `body.Packed` without its
  leading axis. Steps are recomputed in the backward pass: memory does not grow with K. A gradient
  that is not finite becomes 0 as a whole; an end that is not finite is returned.
  """
  item = worlds.finite_gradients(jax.tree.map(lambda x: jnp.asarray(x, float), item))
  state = worlds.release(item.hull, jnp.asarray(tilt, float))
  qpos, _ = advance(item, state, seconds, timestep, friction)
  return worlds.end(qpos, item.center)


def advance(item, state, seconds, timestep=2e-3, friction=1.0):
  """The state (qpos, qvel) after `seconds` from a state (qpos, qvel)."""
  step = jax.checkpoint(_stepper(item, timestep, friction), prevent_cse=False)
  count = max(round(seconds / timestep), 1)
  return jax.lax.scan(lambda state, _: (step(state), None), state, None, length=count)[0]


def of_mesh(vertices, faces, corners, density=1000.0):
  """The item (a `body.Packed` without its leading axis) of a closed mesh, differentiably.

  vertices [V, 3], faces [F, 3]; corners [K] are indices of the convex hull's vertices
  (or of all that may touch the plane); repeats do not count.
  """
  body = solid(vertices, faces)
  return Packed(vertices[corners] - body.center[None], density * body.volume, body.center,
                density * body.inertia, jnp.zeros_like(body.volume))


def _stepper(item, timestep, friction):
  """The function from a state (qpos, qvel) of this body to the next."""
  hull, inertia = item.hull, item.inertia / item.mass
  inverse = jnp.linalg.inv(inertia)
  # Padding repeats the first row of a hull, and must not carry weight again.
  real = (hull != hull[:1]).any(1).at[0].set(True)
  # Largest acceleration of a contact point per unit force.
  yields = 1 + extremum.highest((hull**2).sum(1)) * jnp.linalg.norm(inverse)
  slip = jnp.maximum(SLIP, timestep * friction * GRAVITY * yields)

  def step(state):
    (place, turn), (velocity, spin) = (jnp.split(x, [3]) for x in state)
    axes = quaternion.matrix(turn)
    lever = hull @ axes.T
    speeds = velocity[None] + jnp.cross(spin[None], hull) @ axes.T
    pushes = _contact(place[2] + lever[:, 2], speeds, real, slip, friction)
    velocity = velocity + timestep * (pushes.sum(0) - jnp.array([0, 0, GRAVITY]))
    torque = axes.T @ jnp.cross(lever, pushes).sum(0) - jnp.cross(spin, inertia @ spin)
    spin = spin + timestep * (inverse @ torque)
    turn = quaternion.product(turn, quaternion.from_vector(timestep * spin))
    return (jnp.concatenate([place + timestep * velocity, turn / jnp.linalg.norm(turn)]),
            jnp.concatenate([velocity, spin]))
  return step


def _contact(height, velocity, real, slip, friction):
  """Forces per mass [K, 3] on vertices at heights [K] with velocities [K, 3]; `real` [K] mask."""
  depth = jnp.where(real, jnp.maximum(-height, 0.0), 0.0)
  count = jnp.maximum((depth > 0).sum(), 1)
  damper = 2 * DAMPING * jnp.sqrt(GRAVITY / SAG / count) * jnp.minimum(depth / SAG * count, 1.0)
  normal = jnp.maximum(GRAVITY / SAG * depth - damper * velocity[:, 2], 0.0)
  sliding = velocity.at[:, 2].set(0.0)
  speed = jnp.sqrt(jnp.maximum((sliding**2).sum(1), slip**2))
  force = -(friction * normal / speed)[:, None] * sliding
  return force.at[:, 2].set(normal)

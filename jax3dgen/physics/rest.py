"""The resting pose of a body on a plane, without time steps, and its support margin.

A body released on a plane turns about the point or edge that carries it, away from its support,
until the next vertex lands. Potential energy becomes rotation, and each landing is a plastic impact
that conserves the angular momentum about the next axis, so that a body may roll over an edge on
which it would stand from rest. There is no slip.

One pivot reads every vertex once. About a horizontal axis, the vertex with the largest x / z lands
first: x is its distance from the axis on the sinking side, z its height. Vertices that touch the
plane on that side land at angle 0, so the same rule goes round the support polygon towards the
projection of the centre of mass, and no convex hull is needed.

Functions here take one body; V is its number of hull vertices, padded by repeats of one of them.
Vectors [3] are in the axes of the body and relative to its centre of mass, masses are 1, and 'flat'
vectors [2] lie in the plane, with the foot (the projection of the centre of mass) at the origin.
Seen from above, the support is to the left of its edges.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jax3dgen.core.types import Array
from jax3dgen.physics import outcome, quaternion
from jax3dgen.physics.native import GRAVITY

TOUCH = 1e-4  # of the size: vertices this close to the plane touch it
EVEN = 1e-6  # of the size: a foot this close to an edge is over the support


class _World(NamedTuple):
  """The state of a body between pivots: its pose, and the next axis of rotation.

  `support` [3] are indices of a triangle in the plane, repeated where there are fewer. The body
  turns about the edge from the first to the second, or about the first alone if it is at a
  `corner`, towards `out`, horizontal and of length 1. `energy` is that of this rotation. `spin` and
  `velocity` (of the centre of mass) are those before the current impact. `inside` is true once the
  foot is in the support polygon.
  """
  quaternion: Array
  place: Array
  up: Array
  support: Array
  corner: Array
  out: Array
  energy: Array
  spin: Array
  velocity: Array
  inside: Array
  done: Array


def settle(packed, tilts, pivots=20):
  """The `Outcome` [B, P] of bodies (`body.Packed`) released at rest under tilts [P, 3].

  A tilt is an axis times an angle in radians. `settled` is false where the body still rotates after
  `pivots` steps, `diverged` is true for bodies that are not finite.
  """
  world = _each(functools.partial(_settle, pivots=pivots), packed, tilts)
  broken = ~jnp.isfinite(world.place).all(-1) | ~jnp.isfinite(world.quaternion).all(-1)
  for leaf in (packed.hull, packed.inertia / packed.mass[:, None, None]):
    broken = broken | ~jnp.isfinite(leaf).all((1, 2))[:, None]
  return outcome.of(world.quaternion, world.place, broken, world.done)


def margin(packed, tilts, pivots=20, threshold_deg=20.0):
  """Support margins of settled bodies (`body.Packed`) under tilts [P, 3]: [B, P] in radians.

  The margin is atan(d / h) for a centre of mass at the height h whose foot is d inside the nearest
  edge of the support: the tilt at which the body topples. A body that ends rotated by
  `threshold_deg` or more has the (negative) margin of the last pose below that rotation in which
  its foot was outside.

  Differentiable with respect to packed.hull, which is relative to the centre of mass, for a fixed
  choice of the supporting vertices.
  """
  return _each(functools.partial(_margin, pivots=pivots, threshold_deg=threshold_deg), packed,
               tilts)


def _each(function, packed, tilts):
  tilts = jnp.asarray(tilts, packed.hull.dtype)
  chex.assert_shape([packed.hull, tilts], [(None, None, 3), (None, 3)])
  inertia = packed.inertia / packed.mass[:, None, None]
  worlds = jax.vmap(jax.vmap(function, (None, None, None, 0)), (0, 0, 0, None))
  return worlds(packed.hull, inertia, packed.center, tilts)


def _settle(hull, inertia, center, tilt, pivots):
  step = lambda _, world: _pivot(hull, inertia, world)
  world = jax.lax.fori_loop(0, pivots, step, _release(hull, center, tilt))
  height = -hull[world.support[0]] @ world.up
  return world._replace(place=jnp.stack([*world.place[:2], height]))


def _release(hull, center, tilt):
  turn = quaternion.from_vector(tilt)
  up = quaternion.matrix(turn)[2]
  lowest = jnp.argmin(hull @ up).astype(jnp.int32)
  toward = (hull[lowest] @ up) * up - hull[lowest]
  sideways = jnp.cross(up, jnp.eye(3, dtype=up.dtype)[jnp.argmin(jnp.abs(up))])
  out = jnp.where(toward @ toward > 0, toward, sideways)
  zero, false = jnp.zeros_like(up), up[0] != up[0]
  return _World(turn, center, up, jnp.stack([lowest] * 3), ~false, _unit(out),
                zero[0], zero, zero, false, false)


def _pivot(hull, inertia, world):
  """The _World after the next vertex has landed, with the next axis."""
  size = jnp.ptp(hull, axis=0).max()
  up, out, a = world.up, world.out, hull[world.support[0]]
  x, z = hull @ out - a @ out, hull @ up - a @ up
  touching = jnp.where(x > TOUCH * size, x * (1e9 / size), -1e30)  # more than any x / z
  landed = jnp.argmax(jnp.where(z > TOUCH * size, x / z, touching)).astype(jnp.int32)
  falls = z[landed] > TOUCH * size
  rotation = _rotate(inertia, world, a, hull[jnp.where(falls, landed, world.support[0])])
  world_, axis, ahead = jax.tree.map(lambda new, old: jnp.where(falls, new, old), rotation,
                                     (world, jnp.cross(up, out), out))
  new = _next_axis(hull, inertia, size, world_, jnp.stack([ahead, axis]), landed)
  return jax.tree.map(lambda new, old: jnp.where(world.done, old, new), new, world)


def _rotate(inertia, world, a, s):
  """(_World, axis, out) after the rotation about the point a that lands the point s."""
  up, axis = world.up, jnp.cross(world.up, world.out)
  cos, sin = _unit(jnp.stack([(s - a) @ world.out, (s - a) @ up]))
  new_up, ahead = _unit(cos * up - sin * world.out), cos * world.out + sin * up
  half = jnp.sqrt(jnp.maximum(0.5 * (1 + cos), 1e-6))
  turn = quaternion.product(world.quaternion,
                            jnp.concatenate([half[None], 0.5 * sin / half * axis]))
  turn = _unit(turn)
  shift = (quaternion.matrix(world.quaternion) - quaternion.matrix(turn)) @ a
  energy = world.energy + GRAVITY * (a @ new_up - a @ up)
  rate = jax.lax.stop_gradient(jnp.sqrt(2 * jnp.maximum(energy, 0.0) / _about(inertia, axis, a)))
  return world._replace(
      quaternion=turn, place=world.place + shift, up=new_up, spin=rate * axis,
      velocity=rate * jnp.cross(a, axis), inside=world.inside & False), axis, ahead


class _Side(NamedTuple):
  """A side of the support between two points: its direction, the distance of the foot beyond it,
  its point nearest to the foot, and the parameter of that (0 and 1 at the ends)."""
  tangent: Array
  beyond: Array
  near: Array
  share: Array


def _next_axis(hull, inertia, size, world, frame, landed):
  """The _World with its next axis, in the triangle of the edge and the landed vertex.

  frame [2, 3] maps to the plane: away from the edge, and along it. With the foot outside, the body
  falls over the nearest side; with the foot inside, it rotates over a side or vertex if its energy
  suffices to lift the centre of mass over it, or rests. In both cases it pivots about the landed
  vertex alone if the impact there lifts the others.
  """
  first, second = world.support[0], world.support[jnp.where(world.corner, 0, 1)]
  triangle = jnp.stack([first, landed, second])
  flat = hull[triangle] @ frame.T
  side = jax.vmap(_side)(flat, jnp.roll(flat, -1, 0))  # the sides from first to landed to second
  open_ = (side.beyond > EVEN * size) & ~world.inside
  outer = open_[0] | open_[1]
  behind = open_[2] & ~outer
  height = -hull[first] @ world.up
  axis_energy = lambda line, point: _axis_energy(inertia, world, line, point)
  over = jax.vmap(axis_energy)(side.tangent @ frame, hull[triangle]) - _barrier(side.beyond, height)
  lone_out, lone_energy, lone_over = _vertex_pivot(hull[triangle], inertia, size, world)
  best = over[:2].max()
  rolls = jnp.maximum(best, lone_over) > 0
  lone = (lone_over > 0) & (outer | (lone_over > best))
  nearest = jnp.argmin(jnp.where(open_, (side.near**2).sum(-1), jnp.inf)[:2])
  which = jnp.where(outer, nearest, jnp.where(behind & ~rolls, 2, jnp.argmax(over[:2])))
  tangent, _, near, share = jax.tree.map(lambda x: x[which], side)
  corner = outer & ((share <= 0) | (share >= 1))
  flat_out = jnp.where(corner, -_unit(near), jnp.stack([tangent[1], -tangent[0]]))
  order = which + jnp.where(corner & (share >= 1), 1, 0) + jnp.arange(3)
  out = jnp.where(lone, lone_out, flat_out @ frame)
  support = jnp.where(lone, jnp.roll(triangle, -1), triangle[order % 3])
  energy = jnp.where(lone, lone_energy, axis_energy(jnp.cross(world.up, out), hull[support[0]]))
  inside = world.inside | ~(outer | behind)
  return world._replace(
      support=support, corner=corner | lone, out=out, energy=jax.lax.stop_gradient(energy),
      inside=inside, done=inside & ~rolls)


def _vertex_pivot(points, inertia, size, world):
  """(out, energy, excess) of the rotation about the second of points [3, 3] after an impact there.

  The excess is the energy beyond that of lifting the centre of mass over the point; negative where
  the rotation would push one of the other two into the plane.
  """
  s, up = points[1], world.up
  momentum = inertia @ world.spin + jnp.cross(world.velocity, s)
  a, b, c = inertia + (s @ s) * jnp.eye(3, dtype=s.dtype) - jnp.outer(s, s)
  inverse = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)]) / (a @ jnp.cross(b, c))
  spin = inverse @ momentum
  out = _unit(jnp.cross(spin, up))
  energy = 0.5 * (momentum @ spin)
  excess = energy - _barrier(jnp.maximum(s @ out, 0.0), -s @ up)
  lifts = ((points - s[None]) @ out <= TOUCH * size).all()
  return out, energy, jnp.where(lifts, excess, -1.0)


def _barrier(distance, height):
  """The energy that lifts a centre of mass over an edge at a distance from its foot."""
  return GRAVITY * (jnp.sqrt(distance**2 + height**2) - height)


def _side(p, q):
  step = q - p
  length = jnp.sqrt(jnp.maximum(step @ step, 1e-30))
  tangent = step / length
  share = -(p @ tangent) / length
  return _Side(tangent, tangent[0] * p[1] - tangent[1] * p[0],
               p + jnp.clip(share, 0.0, 1.0) * step, share)


def _axis_energy(inertia, world, line, point):
  """The energy of rotation about a line (unit vector) through a point after a plastic impact."""
  momentum = line @ (inertia @ world.spin + jnp.cross(world.velocity, point))
  return 0.5 * jnp.maximum(momentum, 0.0)**2 / _about(inertia, line, point)


def _about(inertia, axis, point):
  """The moment of inertia about an axis (unit vector) through a point."""
  return axis @ inertia @ axis + point @ point - (point @ axis)**2


def _margin(hull, inertia, center, tilt, pivots, threshold_deg):
  angle = lambda world: outcome.rotation_deg(world.quaternion)

  def step(_, worlds):
    old, falls = worlds
    new = _pivot(hull, inertia, old)
    outside = hull[old.support[0]] @ old.out < 0
    fell = outside & (angle(old) < threshold_deg) & (new.up != old.up).any()
    return new, jax.tree.map(lambda p, q: jnp.where(fell, p, q), old, falls)

  start = _release(hull, center, tilt)
  world, falls = jax.lax.fori_loop(0, pivots, step, (start, start))
  start, end = jnp.where(world.done, _nearest(hull, world), world.support[:2])
  stands = angle(world) < threshold_deg
  side = jnp.cross(_unit(hull[end] - hull[start]), world.up)
  point, up, out = jax.tree.map(
      lambda p, q: jnp.where(stands, p, q), (hull[start], world.up, side),
      (hull[falls.support[0]], falls.up, falls.out))
  return jnp.arctan2(point @ out, -point @ up)


def _nearest(hull, world):
  """The vertices [2] of the side of the support that is nearest to the foot.

  From a corner of the support, all other vertices in the plane lie within a half turn that includes
  the foot, and the rightmost one is the other end of a side.
  """
  touch = TOUCH * jnp.ptp(hull, axis=0).max()
  frame = jnp.stack([world.out, jnp.cross(world.up, world.out)])
  height = hull @ world.up
  touching = height - height[world.support[0]] <= touch
  flat = hull @ frame.T

  def from_corner(k):
    step, inward = flat - flat[k][None], -flat[k]
    other = touching & (jnp.linalg.norm(step, axis=-1) > touch)
    angle = jnp.arctan2(inward[0] * step[:, 1] - inward[1] * step[:, 0], step @ inward)
    low, high = jnp.where(other, angle, 4.0), jnp.where(other, angle, -4.0)
    is_corner = touching[k] & other.any() & (high.max() - low.min() < jnp.pi + 1e-3)
    distance = jnp.linalg.norm(inward) * jnp.sin(-low.min())
    return jnp.where(is_corner, distance, jnp.inf), jnp.argmin(low)

  distances, ends = jax.lax.map(from_corner, jnp.arange(len(hull)))
  start = jnp.argmin(distances)
  return jnp.stack([start, ends[start]]).astype(jnp.int32)


def _unit(vector):
  return vector / jnp.sqrt(jnp.maximum(vector @ vector, 1e-30))

"""Deforms a mesh as little as possible until it stands.

A free-form deformation (Bernstein polynomials over the bounding box: smooth and of low frequency)
moves the whole solid, and what it leaves below a floor is pressed flat onto that floor, which
becomes the sole. The control points follow the gradient of the support margin, through the centre
of mass of the deformed solid and through the corners of the sole, against the size and the
roughness of the displacement. How much is pressed flat trades against how far the mass has to move,
so several depths of the floor are tried. A candidate counts only where C MuJoCo says that it
stands; the one that moved the surface least is kept.

V vertices, F faces, C control points. Lengths are in units of the largest extent of the mesh.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import spatial

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, native
from jax3dgen.scene import mesh as meshes
from jax3dgen.scene.solid import solid

EDGE = 0.05  # longest edge
DEPTHS = (0.003, 0.01, 0.02, 0.04, 0.08, 0.15)  # of the floor above the lowest vertex
CUTS = tuple(i / 100 for i in range(1, 61))  # shares of the height, of the flat cuts that are tried
MARGINS_DEG = (2.0, 5.0)  # support margins that are aimed at, one after the other
CORNERS = 32  # of a support polygon, padded
ROUGHNESS = 0.3  # weight of the displacement's Laplacian beside its size
STEPS, RATE = 150, 3e-3  # of Adam on the control points
DEGREE = 4  # of the Bernstein polynomials along each axis


class Stabilized(NamedTuple):
  """mesh: the deformed Mesh, or the input where nothing helped. `stands` in C MuJoCo; moved: root
  mean square displacement of the vertices in units of the extent; depth and margin_deg: of the
  attempt that was kept (None: none was, or the input stands as it is)."""
  mesh: Mesh
  stands: bool
  moved: float
  depth: float | None = None
  margin_deg: float | None = None


def bernstein(unit, degree=DEGREE):
  """Weights [V, (degree + 1)^3] of the control points for points `unit` [V, 3] in [0, 1]^3."""
  k = np.arange(degree + 1)
  choose = np.array([math.comb(degree, i) for i in k], np.float64)
  along = choose * unit[..., None]**k * (1 - unit[..., None])**(degree - k)  # [V, 3, degree + 1]
  return np.einsum('vi,vj,vk->vijk', *np.moveaxis(along, 1, 0)).reshape(len(unit), -1)


def pressed(vertices, floor):
  """Vertices [V, 3] with all that lies below `floor` flat on it."""
  return jnp.concatenate([vertices[:, :2], jnp.maximum(vertices[:, 2:], floor)], 1)


def support_margin(vertices, faces, corners):
  """atan(distance of the foot of the centre of mass to the nearest edge / its height) in radians.

  `corners` [K] are the vertices of the support polygon, counter-clockwise from above; repeats do
  not count. Negative where the foot lies outside. Differentiable with respect to `vertices`.
  """
  center = solid(vertices, faces).center
  feet = vertices[corners]
  start, edge = feet[:, :2], jnp.roll(feet, -1, 0)[:, :2] - feet[:, :2]
  length2 = jnp.sum(edge**2, 1)
  real = length2 > 1e-12
  inverse = jax.lax.rsqrt(jnp.where(real, length2, 1.0))
  away = center[None, :2] - start
  distance = (edge[:, 0] * away[:, 1] - edge[:, 1] * away[:, 0]) * inverse
  nearest = jnp.min(jnp.where(real, distance, jnp.inf))
  return jnp.arctan2(nearest, center[2] - jnp.mean(feet[:, 2]))


def sole(vertices, floor):
  """Indices [CORNERS] of the corners of what touches the floor, or None where they span no area."""
  touching = np.flatnonzero(vertices[:, 2] <= floor + 1e-6)
  if len(touching) < 3:
    return None
  try:
    outline = touching[spatial.ConvexHull(vertices[touching, :2]).vertices]
  except spatial.QhullError:
    return None
  if len(outline) > CORNERS:
    outline = outline[np.linspace(0, len(outline), CORNERS, endpoint=False).astype(int)]
  return np.concatenate([outline, np.full(CORNERS - len(outline), outline[-1])])


def laplacian(vertices, links):
  """Mean over the neighbours minus the vertex, [V, 3], for links [E, 2] in both directions."""
  count = jax.ops.segment_sum(jnp.ones(len(links)), links[:, 0], len(vertices))
  total = jax.ops.segment_sum(vertices[links[:, 1]], links[:, 0], len(vertices))
  return total / jnp.maximum(count, 1.0)[:, None] - vertices


@functools.partial(jax.jit, static_argnames=('optimiser',))
def _update(control, state, weights, vertices, faces, links, corners, floor, target, optimiser):
  """One step on the control points [C, 3]; (control, state, margin before the step)."""
  def loss(control):
    moved = weights @ control
    margin = support_margin(pressed(vertices + moved, floor), faces, corners)
    size = jnp.mean(jnp.sum(moved**2, 1))
    rough = jnp.mean(jnp.sum(laplacian(moved, links)**2, 1))
    return 10.0 * jax.nn.relu(target - margin) + size + ROUGHNESS * rough, margin

  (_, margin), grads = jax.value_and_grad(loss, has_aux=True)(control)
  updates, state = optimiser.update(grads, state)
  return optax.apply_updates(control, updates), state, margin


def attempt(vertices, faces, depth, margin_deg):
  """Vertices [V, 3] (largest extent 1) deformed to the support margin, or None where they were not.
  """
  floor = vertices[:, 2].min() + depth
  low = vertices.min(0)
  weights = jnp.asarray(bernstein((vertices - low) / np.maximum(np.ptp(vertices, axis=0), 1e-9)),
                        jnp.float32)
  links = np.concatenate([faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
  links = np.unique(np.concatenate([links, links[:, ::-1]]), axis=0)
  optimiser = _adam()
  control = jnp.zeros((weights.shape[1], 3))
  state = optimiser.init(control)
  start = jnp.asarray(vertices, jnp.float32)
  for _ in range(STEPS):
    now = np.asarray(pressed(start + weights @ control, floor))
    corners = sole(now, floor)
    if corners is None:
      return None
    control, state, margin = _update(control, state, weights, start, faces, links, corners,
                                     floor, np.deg2rad(margin_deg), optimiser)
    if margin >= np.deg2rad(margin_deg):
      return now
  return None


@functools.cache
def _adam():
  return optax.adam(RATE)


def stabilize(mesh, seconds=10.0, timestep=4e-3):
  """`Stabilized` of a closed Mesh; raises MeshError where it is no solid.

  The mesh is refined first, so that flat parts can bend.
  """
  mesh = meshes.refined(mesh, EDGE * np.ptp(mesh.vertices, axis=0).max())
  vertices, faces = meshes.checked(mesh)
  extent = np.ptp(vertices, axis=0).max()
  middle = 0.5 * (vertices.min(0) + vertices.max(0))
  unit = (vertices - middle) / extent
  stands = lambda v: native.drop(body.from_mesh(Mesh(v, faces)), seconds, timestep).stable
  if stands(unit):
    return Stabilized(mesh, True, 0.0)
  best = Stabilized(mesh, False, 0.0)
  for depth, margin_deg in itertools.product(DEPTHS, MARGINS_DEG):
    found = attempt(unit, faces, depth, margin_deg)
    if found is None:
      continue
    moved = float(np.sqrt(np.mean(np.sum((found - unit)**2, 1))))
    if (not best.stands or moved < best.moved) and _stands(stands, found):
      made = mesh.replace(vertices=np.float32(found * extent + middle))
      best = Stabilized(made, True, moved, depth, margin_deg)
  return best


def flat_cut(mesh, shares=CUTS, seconds=10.0, timestep=4e-3):
  """The baseline of DSO D.2: (share, mesh) of the smallest flat cut that makes a Mesh stand.

  `shares` of the height are tried in order; None where none of them helps.
  """
  for share in shares:
    try:
      cut = meshes.flat_sole(mesh, float(share))
      if native.drop(body.from_mesh(cut), seconds, timestep).stable:
        return float(share), cut
    except MeshError:  # what is left is no solid
      continue
  return None


def _stands(stands, vertices):
  try:
    return stands(np.asarray(vertices, np.float64))
  except MeshError:
    return False

"""Minimal deformation of a mesh until it passes the drop test.

A free-form deformation (Bernstein polynomials over the bounding box: smooth and of low frequency)
moves the whole solid, and vertices below a floor are projected onto it, as the base. The control
points follow the gradient of the support margin, through the centre of mass of the deformed solid
and the corners of the base, with penalties on the size and the roughness of the displacement. A
larger base needs less displacement, so several heights of the floor are tried.

The result is a solid again: a deformation that folds space is rejected, and parts flattened to a
sheet without volume are cut off. A candidate counts only where it stands in C MuJoCo, at DSO's
settings and in the mesh's own units; the one with the smallest displacement is returned.

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

from jax3dgen.core import extremum
from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, native
from jax3dgen.scene import mesh as meshes
from jax3dgen.scene import mesh_regularizers
from jax3dgen.scene.solid import solid

EDGE = 0.05  # longest edge
DEPTHS = (0.003, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15)  # of the floor
CUTS = tuple(i / 100 for i in range(1, 61))  # shares of the height for flat cuts
MARGINS_DEG = (0.5, 2.0, 5.0)  # target support margins, tried in turn
CORNERS = 32  # of a support polygon, after padding
ROUGHNESS = 0.3  # weight of the displacement's Laplacian beside its size
SLIVER = 1e-4  # height of the final cut above the floor, which removes flat sheets
FOLDS = 17  # grid points per axis at which folds are detected
STEPS, RATE = 150, 3e-3  # of Adam on the control points
DEGREE = 4  # of the Bernstein polynomials along each axis


class Stabilized(NamedTuple):
  """mesh: the deformed Mesh, or the input where it stands or no attempt succeeded. stands: its
  label in C MuJoCo at DSO's settings; moved: root mean square displacement of the vertices in units
  of the extent; depth and margin_deg: of the successful attempt, or None."""
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


def flatten(vertices, floor):
  """Vertices [V, 3] with z clipped to `floor` or above."""
  return jnp.concatenate([vertices[:, :2], jnp.maximum(vertices[:, 2:], floor)], 1)


def support_margin(vertices, faces, corners):
  """atan(distance of the projected centre of mass to the nearest edge / its height) in radians.

  `corners` [K] are the vertices of the support polygon, counter-clockwise from above; repeats do
  not count. Negative where the projection lies outside. Differentiable with respect to `vertices`.
  """
  center = solid(vertices, faces).center
  feet = vertices[corners]
  start, edge = feet[:, :2], jnp.roll(feet, -1, 0)[:, :2] - feet[:, :2]
  length2 = jnp.sum(edge**2, 1)
  real = length2 > 1e-12
  inverse = jax.lax.rsqrt(jnp.where(real, length2, 1.0))
  away = center[None, :2] - start
  distance = (edge[:, 0] * away[:, 1] - edge[:, 1] * away[:, 0]) * inverse
  nearest = extremum.lowest(jnp.where(real, distance, jnp.inf))
  return jnp.arctan2(nearest, center[2] - jnp.mean(feet[:, 2]))


def base_corners(vertices, links, floor):
  """Indices [CORNERS] of the corners of the base, or None where they span no area.

  The hull of the vertices on the floor that are linked (`links` [E, 2], in both directions) to
  vertices above it: the inside of a flattened sheet carries no load.
  """
  touches = vertices[:, 2] <= floor + 1e-6
  rim = np.unique(links[touches[links[:, 0]] & ~touches[links[:, 1]], 0])
  if len(rim) < 3:
    return None
  try:
    outline = rim[spatial.ConvexHull(vertices[rim, :2]).vertices]
  except spatial.QhullError:
    return None
  if len(outline) > CORNERS:
    outline = outline[np.linspace(0, len(outline), CORNERS, endpoint=False).astype(int)]
  return np.concatenate([outline, np.full(CORNERS - len(outline), outline[-1])])


def edges(faces):
  """The links [E, 2] between the corners of faces [F, 3], each in both directions."""
  links = np.concatenate([faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
  return np.unique(np.concatenate([links, links[:, ::-1]]), axis=0)


def folds(control, size):
  """Whether moving control points by [C, 3] turns space in a box of `size` [3] inside out."""
  axes = [np.linspace(0, extent, FOLDS) for extent in size]
  unit = np.stack(np.meshgrid(*[np.linspace(0, 1, FOLDS)] * 3, indexing='ij'), -1)
  place = unit * size + (bernstein(unit.reshape(-1, 3)) @ control).reshape(unit.shape)
  slopes = np.stack(np.gradient(place, *axes, axis=(0, 1, 2), edge_order=2), -1)
  return bool((np.linalg.det(slopes) <= 0).any())


@functools.partial(jax.jit, static_argnames=('optimiser',))
def _update(control, state, weights, vertices, faces, links, corners, floor, target, optimiser):
  """One step on the control points [C, 3]; (control, state, margin before the step)."""
  def loss(control):
    moved = weights @ control
    margin = support_margin(flatten(vertices + moved, floor), faces, corners)
    size = jnp.mean(jnp.sum(moved**2, 1))
    rough = jnp.mean(jnp.sum(mesh_regularizers.laplacian(moved, links)**2, 1))
    return 10.0 * jax.nn.relu(target - margin) + size + ROUGHNESS * rough, margin

  (_, margin), grads = jax.value_and_grad(loss, has_aux=True)(control)
  updates, state = optimiser.update(grads, state)
  return optax.apply_updates(control, updates), state, margin


def attempt(vertices, faces, depth, margin_deg):
  """Vertices [V, 3] (largest extent 1) deformed to the support margin, or None on failure."""
  low, size = vertices.min(0), np.ptp(vertices, axis=0)
  floor = low[2] + depth
  weights = jnp.asarray(bernstein((vertices - low) / size), jnp.float32)
  links = edges(faces)
  optimiser = _adam()
  control = jnp.zeros((weights.shape[1], 3))
  state = optimiser.init(control)
  start = jnp.asarray(vertices, jnp.float32)
  for _ in range(STEPS):
    now = np.asarray(flatten(start + weights @ control, floor))
    corners = base_corners(now, links, floor)
    if corners is None:
      return None
    before = control
    control, state, margin = _update(control, state, weights, start, faces, links, corners,
                                     floor, np.deg2rad(margin_deg), optimiser)
    if margin >= np.deg2rad(margin_deg):
      return None if folds(np.asarray(before), size) else now
  return None


@functools.cache
def _adam():
  return optax.adam(RATE)


def stabilize(mesh, seconds=10.0):
  """`Stabilized` of a closed Mesh; raises MeshError where it is no solid.

  The mesh is refined first, so that flat parts can bend.
  """
  extent = np.ptp(mesh.vertices, axis=0).max()
  fine = meshes.refine(mesh, EDGE * extent)
  best = Stabilized(mesh, _stands(mesh, seconds), 0.0)
  if best.stands:
    return best
  vertices, faces = meshes.checked(fine)
  middle = 0.5 * (vertices.min(0) + vertices.max(0))
  unit = (vertices - middle) / extent
  for depth, margin_deg in itertools.product(DEPTHS, MARGINS_DEG):
    deformed = attempt(unit, faces, depth, margin_deg)
    if deformed is None:
      continue
    moved = float(np.sqrt(np.mean(np.sum((deformed - unit)**2, 1))))
    if best.stands and moved >= best.moved:
      continue
    candidate = without_sheets(fine.replace(vertices=np.float32(deformed * extent + middle)))
    if candidate is not None and _stands(candidate, seconds):
      best = Stabilized(candidate, True, moved, depth, margin_deg)
  return best


def without_sheets(mesh):
  """A flattened Mesh cut SLIVER above the floor, which removes sheets without volume; None where
  only a sheet connected its parts."""
  low, extent = mesh.vertices[:, 2].min(), np.ptp(mesh.vertices, axis=0).max()
  solid_part = meshes.above(mesh, low + SLIVER * extent)
  parts = [len(np.unique(meshes.shells(m.faces, len(m.vertices)))) for m in (mesh, solid_part)]
  return solid_part if parts[0] == parts[1] else None


def smallest_flat_cut(mesh, shares=CUTS, seconds=10.0):
  """The baseline of DSO D.2: (share, mesh) of the smallest flat cut after which a Mesh stands.

  `shares` of the height are tried in order; None where none succeeds.
  """
  for share in shares:
    try:
      cut = meshes.flat_cut(mesh, float(share))
    except MeshError:  # empty above the cut
      continue
    if _stands(cut, seconds):
      return float(share), cut
  return None


def _stands(mesh, seconds):
  """The label of C MuJoCo; False for a mesh that is no valid body."""
  try:
    return native.drop(body.from_mesh(mesh), seconds).stable
  except MeshError:
    return False

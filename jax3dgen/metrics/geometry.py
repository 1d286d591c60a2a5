"""Chamfer distance and F-score between points on the surfaces of two shapes.

DSO's protocol (its evaluate_geometry): both meshes are normalised to the unit cube
(centre of the bounding box at the origin, largest extent 1); 10,000 points are sampled on each
surface; the estimated points are aligned to the true ones by point-to-point ICP; distances are
Euclidean, not squared.

On accelerators many pairs are compared in a batch, by matrix products (`compare`); on CPUs one at a
time, by k-d trees (`with_trees`), which is 20 times as fast there.

Axes: B pairs of shapes, N estimated and K true points.
"""

import chex
from flax import struct
import jax
import jax.numpy as jnp
import numpy as np
from scipy import spatial

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Array
from jax3dgen.physics import normalize
from jax3dgen.scene import mesh as meshes

POINTS = 10_000
TAU = 0.05  # distance threshold of the F-score
REACH = 0.02  # largest distance of corresponding points in ICP
ITERATIONS = 50
CONVERGED = 1e-6  # ICP tolerance on the share of corresponding points and their RMS distance
COLUMNS = 128
CHUNK = 512  # rows of a distance matrix in memory at a time
PAIRS = 8  # shapes per batch


@struct.dataclass
class Scores:
  """Of B pairs, all [B]: chamfer is the mean of the mean distances both ways, in units of the true
  shape's largest extent; precision and recall the shares of estimated and true points within TAU of
  the other shape; f_score their harmonic mean, 0 where both are 0."""
  chamfer: Array
  precision: Array
  recall: Array
  f_score: Array


def measure(key, estimate, true, count=POINTS):
  """Scores of Meshes `estimate` against as many Meshes `true`, by DSO's protocol (host arrays)."""
  pairs = list(zip(estimate, true, strict=True))
  keys = jax.random.split(key, (len(pairs), 2))
  points = lambda i: [sample(k, normalize.normalize(mesh, 'unit_cube')[0], count)
                      for k, mesh in zip(keys[i], pairs[i])]
  if jax.default_backend() == 'cpu':
    scores = [with_trees(*points(i)) for i in range(len(pairs))]
    return jax.tree.map(lambda *column: np.array(column), *scores)
  scores = []
  for start in range(0, len(pairs), PAIRS):
    batch = [points(i) for i in range(start, min(start + PAIRS, len(pairs)))]
    batch = np.array(batch + batch[-1:] * (PAIRS - len(batch)))  # for one compilation
    scores.append(jax.device_get(compare(batch[:, 0], batch[:, 1])))
  return jax.tree.map(lambda *column: np.concatenate(column)[:len(pairs)], *scores)


@jax.jit
def compare(estimate, true):
  """Scores of points estimate [B, N, 3] and true [B, K, 3] in the unit cube, after ICP."""
  chex.assert_shape([estimate, true], (None, None, 3))
  return jax.vmap(lambda p, q: score(icp(p, q)[0], q))(estimate, true)


def with_trees(estimate, true):
  """Scores [] of host points estimate [N, 3] and true [K, 3] after ICP, equal to `compare`."""
  chex.assert_shape([estimate, true], (None, 3))
  tree = spatial.cKDTree(true)

  def correspond(points):
    distance, index = tree.query(points, distance_upper_bound=REACH)
    near = distance < REACH  # the index is K where no point is in reach
    rms = np.sqrt(np.sum(distance[near]**2) / max(near.sum(), 1))
    return np.minimum(index, len(true) - 1), near, near.mean(), rms

  index, near, share, rms = correspond(estimate)
  for _ in range(ITERATIONS):
    rotation, shift = jax.device_get(_rigid(estimate, true[index], near))
    estimate = estimate @ rotation.T + shift
    before = share, rms
    index, near, share, rms = correspond(estimate)
    if max(abs(share - before[0]), abs(rms - before[1])) < CONVERGED:
      break
  return jax.device_get(_scores(tree.query(estimate)[0], spatial.cKDTree(estimate).query(true)[0]))


def sample(key, mesh, count=POINTS):
  """`count` points [count, 3] (host, float64), evenly distributed on the surface of a Mesh."""
  bits = np.asarray(jax.random.bits(key, (3, count), np.uint32))
  points, _, cross = meshes.sample_surface(*meshes.checked(mesh), *(bits + 0.5) / 2**32)
  if not 0 < np.linalg.norm(cross, axis=-1).sum() < np.inf:
    raise MeshError('The surface of the mesh has no area.')
  return points


def score(estimate, true):
  """Scores [] of points estimate [N, 3] against true [K, 3] as they lie."""
  return _scores(nearest(estimate, true)[0], nearest(true, estimate)[0])


def _scores(forth, back):
  """Scores [] for the distances forth [N] and back [K]."""
  precision, recall = jnp.mean(forth < TAU), jnp.mean(back < TAU)
  total = precision + recall
  f_score = jnp.where(total > 0, 2 * precision * recall / jnp.where(total > 0, total, 1.0), 0.0)
  return Scores(0.5 * (forth.mean() + back.mean()), precision, recall, f_score)


def nearest(points, others):
  """(distance [N], index [N] into `others`) of the nearest of others [K, 3] for points [N, 3].

  The index is found by matrix products; the distance is then computed from the two points, to full
  precision and differentiable where it is not 0.
  """
  points, others = jnp.asarray(points), jnp.asarray(others)
  index = _nearest(*jax.lax.stop_gradient((points, others)))
  square = jnp.sum((points - others[index])**2, -1)
  return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0), index


def _nearest(points, others):
  """Index [N] of the others [K, 3] nearest to points [N, 3]: the largest x.y - |y|^2 / 2.

  The maximum of each column of a table, then of the best column: reductions over other axes than
  the last are several times as fast on CPUs as one argmax.
  """
  count, middle = len(others), others.mean(0)
  padded = jnp.pad(others, ((0, -count % COLUMNS), (0, 0)), mode='edge') - middle[None]
  table = jnp.append(padded, -0.5 * jnp.sum(padded**2, -1, keepdims=True), 1)

  def nearest_index(point):
    value = jnp.dot(table, jnp.append(point, 1.0), precision='highest').reshape(-1, COLUMNS)
    column = jnp.argmax(value.max(0))
    return jnp.argmax(value[:, column]) * COLUMNS + column

  index = jax.lax.map(nearest_index, points - middle[None], batch_size=CHUNK)
  return jnp.minimum(index, count - 1)  # padding repeats the last one


def icp(points, target, reach=REACH, iterations=ITERATIONS, tolerance=CONVERGED):
  """(points [N, 3] moved onto target [K, 3] by a rigid motion, number of motions []).

  Point-to-point ICP as in Open3D: a least-squares motion of the points within `reach` of their
  nearest target point, repeated until neither the share of such points nor their root mean square
  distance changes by `tolerance`.
  """
  def correspond(points):
    distance, index = nearest(points, target)
    near = distance < reach
    count = jnp.maximum(near.sum(), 1)
    rms = jnp.sqrt(jnp.sum(jnp.where(near, distance**2, 0.0)) / count)
    return index, near, near.mean(dtype=points.dtype), rms

  def step(state):
    points, (index, near, share, rms), _, count = state
    rotation, shift = rigid(points, target[index], near)
    points = jnp.einsum('ij,nj->ni', rotation, points, precision='highest') + shift[None]
    matches = correspond(points)
    going = (abs(matches[2] - share) >= tolerance) | (abs(matches[3] - rms) >= tolerance)
    return points, matches, going, count + 1

  points, target = jnp.asarray(points), jnp.asarray(target)
  state = points, correspond(points), jnp.array(True), jnp.array(0)
  points, _, _, count = jax.lax.while_loop(
      lambda state: state[2] & (state[3] < iterations), step, state)
  return points, count


def rigid(points, others, selected):
  """(R [3, 3], t [3]) of the Kabsch motion of the `selected` [N] points [N, 3] to others [N, 3].

  R is a rotation, never a reflection. With fewer than three points it is the identity.
  """
  weight = selected.astype(points.dtype)
  total = jnp.maximum(weight.sum(), 1.0)
  mean = lambda x: jnp.sum(weight[:, None] * x, 0) / total
  here, there = mean(points), mean(others)
  spread = jnp.einsum('n,ni,nj->ij', weight, others - there[None], points - here[None],
                      precision='highest')
  u, _, vt = jnp.linalg.svd(spread)
  sign = jnp.sign(jnp.linalg.det(u) * jnp.linalg.det(vt))
  rotation = jnp.dot(u * jnp.stack([1.0, 1.0, sign])[None], vt, precision='highest')
  determined = weight.sum() >= 3
  rotation = jnp.where(determined, rotation, jnp.eye(3, dtype=points.dtype))
  shift = there - jnp.dot(rotation, here, precision='highest')
  return rotation, jnp.where(determined, shift, 0.0)


_rigid = jax.jit(rigid)

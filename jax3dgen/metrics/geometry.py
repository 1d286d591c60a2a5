"""How alike two shapes are: Chamfer distance and F-score of points on their surfaces.

DSO's protocol (its evaluate_geometry): either mesh is brought to the unit cube (middle of the
bounding box to the origin, largest extent 1); 10,000 points are drawn from each surface; the found
ones are moved onto the true ones by point-to-point ICP; distances are Euclidean, not squared.

On accelerators many pairs go together, by matrix products (`compare`); on CPUs they go one by one,
by k-d trees (`with_trees`), which is 20 times as fast there.

Axes: B pairs of shapes, N found and K true points.
"""

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
TAU = 0.05  # a point nearer than this is found (F-score)
REACH = 0.02  # ICP: points further apart than this correspond to nothing
ITERATIONS = 50
CONVERGED = 1e-6  # ICP: change of the share of points that correspond, and of their distance
COLUMNS = 128
CHUNK = 512  # rows of a matrix of distances that are in memory at a time
PAIRS = 8  # shapes that are compared together


@struct.dataclass
class Scores:
  """Of B pairs, all [B]: chamfer is the mean of the mean distances both ways, in units of the true
  shape's largest extent; precision and recall the shares of found and true points that lie within
  TAU of the other shape; f_score their harmonic mean, 0 where both are 0."""
  chamfer: Array
  precision: Array
  recall: Array
  f_score: Array


def measure(key, found, true, count=POINTS):
  """Scores of Meshes `found` against as many Meshes `true`, by the whole protocol (host arrays)."""
  pairs = list(zip(found, true, strict=True))
  keys = jax.random.split(key, (len(pairs), 2))
  points = lambda i: [sample(k, normalize.normalize(mesh, 'unit_cube')[0], count)
                      for k, mesh in zip(keys[i], pairs[i])]
  if jax.default_backend() == 'cpu':
    scores = [with_trees(*points(i)) for i in range(len(pairs))]
    return jax.tree.map(lambda *column: np.array(column), *scores)
  scores = []
  for start in range(0, len(pairs), PAIRS):
    batch = [points(i) for i in range(start, min(start + PAIRS, len(pairs)))]
    batch = np.array(batch + batch[-1:] * (PAIRS - len(batch)))  # so that one compilation does
    scores.append(jax.device_get(compare(batch[:, 0], batch[:, 1])))
  return jax.tree.map(lambda *column: np.concatenate(column)[:len(pairs)], *scores)


@jax.jit
def compare(found, true):
  """Scores of points found [B, N, 3] and true [B, K, 3] in the unit cube, after ICP."""
  return jax.vmap(lambda p, q: score(icp(p, q)[0], q))(found, true)


def with_trees(found, true):
  """Scores [] of host points found [N, 3] and true [K, 3] after ICP: what `compare` finds."""
  tree = spatial.cKDTree(true)

  def look(points):
    distance, index = tree.query(points, distance_upper_bound=REACH)
    near = distance < REACH  # where nothing is in reach the index is K
    rms = np.sqrt(np.sum(distance[near]**2) / max(near.sum(), 1))
    return np.minimum(index, len(true) - 1), near, near.mean(), rms

  index, near, share, rms = look(found)
  for _ in range(ITERATIONS):
    rotation, shift = jax.device_get(_rigid(found, true[index], near))
    found = found @ rotation.T + shift
    before = share, rms
    index, near, share, rms = look(found)
    if max(abs(share - before[0]), abs(rms - before[1])) < CONVERGED:
      break
  return jax.device_get(_scores(tree.query(found)[0], spatial.cKDTree(found).query(true)[0]))


def sample(key, mesh, count=POINTS):
  """`count` points [count, 3] (host, float64), evenly distributed on the surface of a Mesh."""
  bits = np.asarray(jax.random.bits(key, (3, count), np.uint32))
  points, _, cross = meshes.sample_surface(*meshes.checked(mesh), *(bits + 0.5) / 2**32)
  if not 0 < np.linalg.norm(cross, axis=-1).sum() < np.inf:
    raise MeshError('The surface of the mesh has no area.')
  return points


def score(found, true):
  """Scores [] of points found [N, 3] against true [K, 3] as they lie."""
  return _scores(nearest(found, true)[0], nearest(true, found)[0])


def _scores(forth, back):
  """Scores [] for the distances forth [N] and back [K]."""
  precision, recall = jnp.mean(forth < TAU), jnp.mean(back < TAU)
  total = precision + recall
  f_score = jnp.where(total > 0, 2 * precision * recall / jnp.where(total > 0, total, 1.0), 0.0)
  return Scores(0.5 * (forth.mean() + back.mean()), precision, recall, f_score)


def nearest(points, others):
  """(distance [N], index [N] into `others`) of the nearest of others [K, 3] for points [N, 3].

  The nearest is found by matrix products; its distance is then that of the two points, to full
  precision and differentiable where it is not 0.
  """
  points, others = jnp.asarray(points), jnp.asarray(others)
  index = _nearest(*jax.lax.stop_gradient((points, others)))
  square = jnp.sum((points - others[index])**2, -1)
  return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0), index


def _nearest(points, others):
  """Index [N] of the others [K, 3] nearest to points [N, 3]: the largest x.y - |y|^2 / 2.

  The largest of each column of a table, then that of the best column: reductions over another axis
  than the last run several times as fast on CPUs as one argmax.
  """
  count, middle = len(others), others.mean(0)
  filled = jnp.pad(others, ((0, -count % COLUMNS), (0, 0)), mode='edge') - middle[None]
  table = jnp.append(filled, -0.5 * jnp.sum(filled**2, -1, keepdims=True), 1)

  def look(point):
    value = jnp.dot(table, jnp.append(point, 1.0), precision='highest').reshape(-1, COLUMNS)
    column = jnp.argmax(value.max(0))
    return jnp.argmax(value[:, column]) * COLUMNS + column

  index = jax.lax.map(look, points - middle[None], batch_size=CHUNK)
  return jnp.minimum(index, count - 1)  # the filling repeats the last one


def icp(points, target, reach=REACH, iterations=ITERATIONS, tolerance=CONVERGED):
  """(points [N, 3] moved onto target [K, 3] by a rigid motion, number of motions []).

  Point-to-point ICP as Open3D runs it: points within `reach` of their nearest target point are
  moved onto it as well as one motion can, again and again, until neither the share of such points
  nor their root mean square distance changes by `tolerance`.
  """
  def look(points):
    distance, index = nearest(points, target)
    near = distance < reach
    count = jnp.maximum(near.sum(), 1)
    rms = jnp.sqrt(jnp.sum(jnp.where(near, distance**2, 0.0)) / count)
    return index, near, near.mean(dtype=points.dtype), rms

  def step(state):
    points, (index, near, share, rms), _, count = state
    rotation, shift = rigid(points, target[index], near)
    points = jnp.einsum('ij,nj->ni', rotation, points, precision='highest') + shift[None]
    seen = look(points)
    going = (abs(seen[2] - share) >= tolerance) | (abs(seen[3] - rms) >= tolerance)
    return points, seen, going, count + 1

  points, target = jnp.asarray(points), jnp.asarray(target)
  state = points, look(points), jnp.array(True), jnp.array(0)
  points, _, _, count = jax.lax.while_loop(
      lambda state: state[2] & (state[3] < iterations), step, state)
  return points, count


def rigid(points, others, chosen):
  """(R [3, 3], t [3]) that bring the `chosen` [N] points [N, 3] nearest to others [N, 3] (Kabsch).

  R is a rotation, never a reflection. Fewer than three chosen points fix none and stay.
  """
  weight = chosen.astype(points.dtype)
  total = jnp.maximum(weight.sum(), 1.0)
  mean = lambda x: jnp.sum(weight[:, None] * x, 0) / total
  here, there = mean(points), mean(others)
  spread = jnp.einsum('n,ni,nj->ij', weight, others - there[None], points - here[None],
                      precision='highest')
  u, _, vt = jnp.linalg.svd(spread)
  sign = jnp.sign(jnp.linalg.det(u) * jnp.linalg.det(vt))
  rotation = jnp.dot(u * jnp.stack([1.0, 1.0, sign])[None], vt, precision='highest')
  fixed = weight.sum() >= 3
  rotation = jnp.where(fixed, rotation, jnp.eye(3, dtype=points.dtype))
  shift = there - jnp.dot(rotation, here, precision='highest')
  return rotation, jnp.where(fixed, shift, 0.0)


_rigid = jax.jit(rigid)

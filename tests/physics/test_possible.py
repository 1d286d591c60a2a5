"""Bodies of surfaces that bound no solid: of the hull, unless a body can have their figures."""

import numpy as np
import pytest
from scipy import spatial

from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, native, native_batch

BOX = np.array([(x, y, z) for z in (0, 2) for y in (0, 1) for x in (0, 1)], float)
SIDES = np.array([(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (1, 3, 7, 5), (3, 2, 6, 7),
                  (2, 0, 4, 6)])
FACES = np.concatenate([SIDES[:, (0, 1, 2)], SIDES[:, (0, 2, 3)]])


def sheet(heights):
  """A Mesh of [n, n] heights over the unit grid, open at its rim."""
  n = len(heights)
  i, j = np.indices((n, n)).reshape(2, -1)
  a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
  return Mesh(np.stack([i, j, heights.ravel()], 1).astype(float), np.concatenate(
      [np.stack([a, a + n, a + 1], 1), np.stack([a + n, a + n + 1, a + 1], 1)]))


def random_sheet(random):
  """Of random size, roughness, place and unit of length; some lack faces inside as well."""
  n = random.integers(3, 7)
  mesh = sheet(random.normal(size=(n, n)) * random.choice([0.05, 0.2, 1, 3]))
  places = (mesh.vertices + random.normal(size=(n * n, 3)) * random.choice([0, 0.1]))
  keep = random.random(len(mesh.faces)) < random.choice([1, 0.9])
  places = places * random.choice([1e-3, 1, 1e3]) + random.normal(size=3) * 1e4
  return Mesh(places, mesh.faces[keep])


def test_every_open_sheet_has_a_possible_body():
  """300 sheets: mass and principal moments are positive, no moment exceeds the sum of the others,
  and the centre of mass is inside the hull; where the closed surface has no such figures the body
  is the hull, with a note."""
  random, statuses = np.random.default_rng(0), []
  for k in range(300):
    mesh = random_sheet(random)
    result = body.from_mesh(mesh)
    a, b, c = np.linalg.eigvalsh(result.inertia)
    assert result.mass > 0 and a > 0 and a + b >= c, (k, result)
    hull = spatial.ConvexHull(result.hull - result.hull.mean(0))
    center = result.center - result.hull.mean(0)
    assert (hull.equations[:, :3] @ center + hull.equations[:, 3] < 0).all(), (k, result)
    assert result.status in ('repaired', 'hull') and result.note
    if result.status == 'hull':
      np.testing.assert_allclose(result.mass, 1000 * hull.volume, rtol=1e-6)
    if k % 20 == 0:
      native.compile_model(result)
    statuses.append(result.status)
  assert {'repaired', 'hull'} == set(statuses)


def test_a_sheet_whose_closure_cancels_its_volume():
  """The fan over the rim leaves a centre of mass outside of the hull and negative moments."""
  heights = np.array([(0, 3, -2, 3), (-1, 0, 2, -1), (0, -3, 2, 0), (-1, 2, -1, 0)]) / 10
  mesh = sheet(heights.T)
  result = body.from_mesh(mesh)
  assert result.status == 'hull' and 'no body has' in result.note
  np.testing.assert_allclose(result.mass, 1000 * spatial.ConvexHull(mesh.vertices).volume)


@pytest.mark.parametrize('count', [1, 2, 12])
def test_a_double_sided_surface_is_its_hull(count):
  """Each face with both windings; and each winding with vertices of its own, and several times."""
  both = np.concatenate([FACES, FACES[:, ::-1]])
  twice = np.concatenate([FACES, 8 + FACES[:, ::-1]])
  for vertices, faces in ((BOX, both), (np.concatenate([BOX, BOX]), np.tile(twice, (count, 1)))):
    result = body.from_mesh(Mesh(vertices, faces))
    assert result.status == 'hull' and 'the surface cannot be closed' in result.note
    np.testing.assert_allclose(result.mass, 2000)
    np.testing.assert_allclose(result.center, (0.5, 0.5, 1), atol=1e-12)


def test_mujoco_refuses_what_no_body_has():
  """The check of the figures agrees with MuJoCo's on inertia near the limit A + B = C."""
  mesh = Mesh(BOX, FACES)
  good = body.from_mesh(mesh)
  hull = body._hull(BOX)
  for factor in (0.3, 0.9, 1.1, 3.0):
    a, b = np.diag(good.inertia)[:2]
    inertia = np.diag([a, b, factor * (a + b)]) / 1000
    possible = body._possible(2.0, good.center, inertia, hull)
    errors = native_batch.simulate(body.Bodies((good.replace(inertia=1000 * inertia),), ()),
                                   np.zeros((1, 3)), 0.01).errors
    assert (errors == ('',)) == (factor < 1) and possible <= (factor < 1)
  assert body._possible(2.0, good.center, good.inertia / 1000, hull)
  for center in ((0.5, 0.5, 2.1), (-0.1, 0.5, 1)):
    assert not body._possible(2.0, np.array(center), good.inertia / 1000, hull)

"""Random objects against loops over their solids: distance, picture, place; and seeds."""

import jax
import numpy as np
import pytest
from scipy import spatial

from jax3dgen.data import figurines, object_kinds, objects
from jax3dgen.scene import mesh as meshes
from jax3dgen.scene import voxels

SEEDS = range(30, 50)  # two of each kind
VOXEL = 1 / objects.RESOLUTION


@pytest.fixture(scope='module')
def drawn():
  return objects.draw(SEEDS)


@pytest.fixture(scope='module')
def logits(drawn):
  return np.asarray(objects.logits(drawn))


def solids(seed):
  """The solids of one object, as they are drawn."""
  kind = objects.KINDS[seed % len(objects.KINDS)]
  return object_kinds.KINDS[kind](np.random.default_rng(seed))


def upright(drawn, b, points):
  """World points [N, 3] in the frame of the solids of object b, in numpy."""
  p = (points - np.asarray(drawn.shift)[b]) / np.asarray(drawn.scale)[b]
  p[:, :2] -= np.asarray(drawn.lean)[b] * p[:, 2:]
  return p


def nearest(seed, p):
  """(signed distance in the solids' frame, index of the nearest solid) by a loop over solids."""
  distance = np.stack([figurines._signed_distance(solid, p) for solid in solids(seed)])
  return distance.min(0), distance.argmin(0)


def inside(solid, p):
  """Whether points p lie in a solid."""
  q, s = p - np.array(solid.center), np.array(solid.size)
  if solid.shape == 'ball':
    return np.sum((q / s)**2, -1) < 1
  if solid.shape == 'box':
    return (np.abs(q) < s).all(-1)
  radius = s[0] + (s[1] - s[0]) * (q[:, 2] + s[2]) / (2 * s[2])
  return (np.abs(q[:, 2]) < s[2]) & (np.hypot(q[:, 0], q[:, 1]) < radius)


def test_each_object_depends_on_its_own_seed_alone(drawn):
  again = objects.draw([SEEDS[7], SEEDS[2]])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, np.asarray(b)[[7, 2]], rtol=1e-5,
                                                       atol=1e-6), again, drawn)
  assert [objects.KINDS[k] for k in drawn.kind[:10]] == [*objects.KINDS]
  lean = np.asarray(drawn.lean)
  assert len(np.unique(lean)) == lean.size


def test_every_object_fits_its_slots_and_has_colours():
  for seed in range(400):
    chosen = solids(seed)
    for shape, slots in objects.SLOTS.items():
      assert sum(solid.shape == shape for solid in chosen) <= slots
    rgb = np.array([solid.rgb for solid in chosen])
    assert rgb.shape[1] == 3 and rgb.min() >= 0 and rgb.max() <= 1
    assert min(np.min(solid.size) for solid in chosen) > 0.02


def test_occupied_voxels_are_those_within_a_solid(drawn, logits):
  points = objects.grid().reshape(-1, 3).astype(np.float64)
  for b, seed in enumerate(SEEDS):
    p = upright(drawn, b, points)
    within = np.any([inside(solid, p) for solid in solids(seed)], 0)
    flat = logits[b].ravel()
    sure = np.abs(flat) > 1e-3
    np.testing.assert_array_equal(flat[sure] > 0, within[sure])
    assert 0.01 < within.mean() < 0.4


def test_logits_are_distances_in_units_of_softness(drawn, logits):
  """Close to the surface, against the distance to a dense sample of it."""
  surface = objects.mesh(drawn, 5, 128).vertices
  distance = spatial.cKDTree(surface).query(objects.grid().reshape(-1, 3))[0]
  value = -logits[5].ravel() * objects.SOFTNESS * VOXEL
  near = distance < 1.5 * VOXEL
  error = np.abs(np.abs(value) - distance)[near] / VOXEL
  assert near.sum() > 1000 and np.median(error) < 0.05 and error.mean() < 0.15
  soft = np.asarray(objects.occupancy(drawn))
  np.testing.assert_allclose(soft, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_objects_are_one_part_on_the_sole_and_as_large_as_they_should_be(drawn, logits):
  for b in range(0, len(SEEDS), 3):
    surface = objects.mesh(drawn, b, 64)
    low, high = surface.vertices.min(0), surface.vertices.max(0)
    assert meshes.is_watertight(surface.faces) and voxels.parts(logits[b], 0.0) == 1
    np.testing.assert_allclose(low[2], objects.SOLE, atol=0.1 * VOXEL)
    np.testing.assert_allclose((low + high)[:2], 0, atol=0.3 * VOXEL)
    np.testing.assert_allclose((high - low).max(), objects.EXTENT, atol=0.3 * VOXEL)
    np.testing.assert_allclose((high - low)[2], drawn.height[b], atol=0.3 * VOXEL)


def test_the_cut_ends_on_voxel_centres_half_a_voxel_above_the_sole(logits):
  """The sole of the 32^3 grid is exact, so that half a voxel is cut off and no more."""
  centres = (np.arange(objects.RESOLUTION) + 0.5) * VOXEL - 0.5
  for grid in logits:
    low = voxels.cut(voxels.mesh(grid), 0.5 * VOXEL).vertices[:, 2].min()
    np.testing.assert_allclose(low, objects.SOLE + 0.5 * VOXEL, atol=0.1 * VOXEL)
    assert np.abs(centres - low).min() < 0.1 * VOXEL


def march(drawn, b, seed, eye, direction, steps=250):
  """Sphere tracing in numpy: (whether rays [N, 3] hit, the colour of the solid that they hit)."""
  scale = float(np.asarray(drawn.scale)[b])
  t = np.full(len(direction), 0.4)
  for _ in range(steps):
    distance, solid = nearest(seed, upright(drawn, b, eye + t[:, None] * direction))
    t = np.minimum(t + 0.5 * scale * distance, 4.0)
  return scale * distance < 2e-3, np.array([s.rgb for s in solids(seed)])[solid]


def test_pictures_show_what_a_ray_march_hits(drawn):
  size = 16
  rgb, opacity = (np.asarray(x) for x in objects.picture(drawn, size, 1))
  camera = objects.camera(drawn)
  axis = (np.arange(size) + 0.5) / size * 2 - 1
  for b in (0, 4, 6, 11, 15, 18):
    c2w = np.asarray(camera.c2w[b], np.float64)
    x, y, half = np.asarray(drawn.window[b], np.float64)
    u, v = np.meshgrid(x + half * axis, y - half * axis)
    direction = np.stack([u, v, -np.ones_like(u)], -1).reshape(-1, 3) @ c2w[:3, :3].T
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    hit, paint = march(drawn, b, SEEDS[b], c2w[:3, 3], direction)
    seen = opacity[b].ravel() > 0
    assert 0.1 < hit.mean() < 0.7 and (hit != seen).mean() < 0.02
    both, colors = hit & seen, rgb[b].reshape(-1, 3)
    low, high = figurines.AMBIENT - figurines.SKY, figurines.AMBIENT + figurines.SKY
    shade = (colors[both] * paint[both]).sum(-1) / (paint[both]**2).sum(-1)
    right = np.abs(colors[both] - shade[:, None] * paint[both]).max(-1) < 1e-3
    assert right.mean() > 0.97 and ((shade > low - 1e-3) & (shade < high + 1e-3))[right].all()
    np.testing.assert_array_equal(colors[~seen], 1.0)


def test_pictures_are_cropped_to_the_object(drawn):
  size = 60
  _, opacity = objects.picture(drawn, size, 1)
  for image in np.asarray(opacity):
    rows, columns = np.nonzero(image)
    box = np.array([[rows.min(), rows.max() + 1], [columns.min(), columns.max() + 1]])
    np.testing.assert_allclose(np.ptp(box, 1).max(), size / objects.MARGIN, atol=2)
    np.testing.assert_allclose(box.mean(1), size / 2, atol=2)

"""Figurines against their signed distance: a slow ray marcher, known points, solid meshes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jax3dgen.core import camera as cameras
from jax3dgen.data import figurine_parts as parts
from jax3dgen.data import figurines

KINDS = range(len(figurines.KINDS))
FOVY = np.deg2rad(40.0)
render = jax.jit(figurines.render, static_argnums=(2, 3))


def figurine(kinds, color=0, hat=0):
  full = lambda x: jnp.full(len(kinds), x, jnp.int32)
  return figurines.Figurine(jnp.asarray(list(kinds), jnp.int32), full(color), full(hat))


def orbit(azimuth_deg, count, elevation=0.2):
  return cameras.orbit(jnp.full(count, np.deg2rad(azimuth_deg)), elevation, 2.9, FOVY)


def test_the_face_is_in_the_front_view_and_the_pack_in_the_back_view():
  count = len(figurines.KINDS)
  front, back = (render(figurine(KINDS), orbit(a, count), 32, 2).shares for a in (0.0, 180.0))
  assert (front[:, parts.FACE] > 0.06).all() and (back[:, parts.FACE] == 0).all()
  assert (back[:, parts.BACK] > 0.10).all() and (front[:, parts.BACK] < 0.01).all()


def test_each_side_view_shows_the_hand_of_its_side():
  count = len(figurines.KINDS)
  left, right = (render(figurine(KINDS), orbit(a, count), 32, 2).shares for a in (90.0, 270.0))
  assert (left[:, parts.LEFT] > 0.008).all() and (left[:, parts.RIGHT] < 0.002).all()
  np.testing.assert_allclose(left[:, parts.LEFT], right[:, parts.RIGHT], atol=2e-3)


def test_hands_project_to_their_colours():
  camera = orbit(0.0, len(figurines.KINDS))
  rgb = np.asarray(render(figurine(KINDS), camera, 32, 2).rgb)
  world_to_camera = np.linalg.inv(np.asarray(camera.c2w[0]))
  for kind in KINDS:
    for part in parts.PARTS[kind]:
      if part.region in (parts.LEFT, parts.RIGHT):
        x, y, z, _ = world_to_camera @ np.array([*part.center, 1.0])
        scale = 16 / (-z * np.tan(FOVY / 2))
        row, column = int(16 - y * scale), int(16 + x * scale)
        assert column > 18 if part.region == parts.LEFT else column < 14  # it faces us
        np.testing.assert_allclose(rgb[kind, row, column], part.paint[:3], atol=0.25)


def march(kind, hat, origin, direction, steps=200):
  """Sphere tracing in numpy: (distance, index of the part hit) or inf, for rays [N, 3]."""
  t = np.full(len(direction), 1.7)
  for _ in range(steps):
    distance, part = figurines.signed_distance(kind, hat, origin + t[:, None] * direction)
    t = t + np.where((distance < 1e-4) | (t > 4.2), 0.0, 0.5 * distance)
  return np.where(t > 4.2, np.inf, t), part


@pytest.mark.parametrize('azimuth', [20.0, 235.0])
@pytest.mark.parametrize('hat', [0, 1])
def test_render_equals_a_ray_marcher(azimuth, hat):
  size, color = 16, 2
  camera = orbit(azimuth, len(figurines.KINDS), elevation=0.5)
  images = render(figurine(KINDS, color, hat), camera, size, 1)
  rays = cameras.rays(camera, size, size)
  origin, direction = (np.asarray(x[0]).reshape(-1, 3) for x in (rays.origin, rays.direction))
  for kind in KINDS:
    image = jax.tree.map(lambda x, k=kind: np.asarray(x[k]), images)
    t, part = march(kind, hat, origin, direction)
    solid = image.opacity.ravel() > 0
    assert (np.isfinite(t) == solid).mean() > 0.985  # a ray may graze an edge on either side
    both = np.isfinite(t) & solid
    assert (np.abs(t - image.depth.ravel())[both] < 5e-3).mean() > 0.95
    paint = np.array([p.paint for p in parts.PARTS[kind]])[part]
    full = paint[:, :3] + paint[:, 3:] * parts.COLOR_RGB[color][None]
    light = (image.rgb.reshape(-1, 3) / np.maximum(full, 1e-3))[both]
    low, high = figurines.AMBIENT - figurines.SKY, figurines.AMBIENT + figurines.SKY
    assert ((light > low - 0.01) & (light < high + 0.01)).all(-1).mean() > 0.93


def test_light_is_a_hemisphere_in_the_world():
  camera = cameras.orbit(0.0, jnp.deg2rad(89.0), 2.9, FOVY)
  robot = figurines.KINDS.index('robot')
  top = np.asarray(render(figurine([robot]), camera, 33, 1).rgb[0])
  np.testing.assert_allclose(top[16, 20], parts.COLOR_RGB[0], atol=1e-3)  # the head's top: n_z = 1


def test_shares_and_opacity_agree_and_a_hat_changes_only_hats():
  count = len(figurines.KINDS)
  bare = render(figurine(KINDS), orbit(30.0, count), 32, 2)
  worn = render(figurine(KINDS, hat=1), orbit(30.0, count), 32, 2)
  np.testing.assert_allclose(bare.shares.sum(-1), 1.0, atol=1e-5)
  np.testing.assert_allclose(1 - bare.shares[:, 0], bare.opacity.mean((1, 2)), atol=1e-5)
  assert (bare.shares[:, parts.HAT] == 0).all() and (worn.shares[:, parts.HAT] > 0.015).all()
  np.testing.assert_allclose(worn.face, bare.face, atol=0.02)


def test_background_is_white_and_the_frame_holds_the_figurine():
  for azimuth in (0.0, 45.0, 90.0):
    image = render(figurine(KINDS, hat=1), orbit(azimuth, len(figurines.KINDS)), 32, 2)
    chex.assert_tree_all_finite(image)
    np.testing.assert_allclose(np.asarray(image.rgb)[np.asarray(image.opacity) == 0], 1.0)
    assert (image.opacity[:, [0, -1]] < 0.51).all()  # half of the outermost pixels at most


def test_rows_are_independent():
  image = render(figurine(KINDS), orbit(70.0, len(figurines.KINDS)), 32, 2)
  turned = render(figurine(KINDS[::-1]), orbit(70.0, len(figurines.KINDS)), 32, 2)
  np.testing.assert_allclose(image.rgb, turned.rgb[::-1], atol=1e-5)


def test_orthographic_cameras_see_the_same_front():
  camera = orbit(0.0, len(figurines.KINDS), elevation=0.0)  # rays in the planes of box sides
  flat = render(figurine(KINDS), camera.replace(orthographic=True), 32, 2)
  near = render(figurine(KINDS), camera, 32, 2)  # perspective enlarges what is in front
  assert ((flat.face < near.face) & (flat.face > 0.6 * near.face)).all()


@pytest.mark.parametrize('kind', KINDS)
def test_mesh_is_a_coloured_solid(kind):
  hat = kind % 2 == 1
  mesh = figurines.mesh(kind, 'green', hat, resolution=96 if kind == 1 else 48)
  solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
  assert solid.is_watertight and solid.is_winding_consistent and solid.body_count == 1
  points = np.random.default_rng(0).uniform(-1, 1, (20000, 3)).astype(np.float32)
  inside = (figurines.signed_distance(kind, hat, points)[0] < 0).mean() * 8
  assert solid.volume > 0  # faces point outward
  np.testing.assert_allclose(solid.volume, inside, rtol=0.06)
  assert np.linalg.norm(mesh.vertices, axis=-1).max() < 0.97
  assert mesh.colors.min() >= 0 and mesh.colors.max() <= 1
  cyan = (mesh.colors[:, 0] < 0.1) & (mesh.colors[:, 2] > 0.4) & (mesh.colors[:, 1] > 0.4)
  magenta = (mesh.colors[:, 1] < 0.1) & (mesh.colors[:, 0] > 0.45) & (mesh.colors[:, 2] > 0.3)
  assert cyan.any() and (mesh.vertices[cyan, 1] > 0.2).all()
  assert magenta.any() and (mesh.vertices[magenta, 1] < -0.2).all()


def test_mesh_takes_names_or_indices():
  by_name = figurines.mesh('rocket', 'blue', resolution=24)
  by_index = figurines.mesh(5, 2, resolution=24)
  chex.assert_trees_all_equal(by_name, by_index)

"""Iso-surfaces of fields whose shape is known; trimesh as the second opinion on meshes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.physics import body, native
from jax3dgen.scene import mesh
from jax3dgen.scene.base import Sample

RESOLUTION = 49
SPACING = 2.0 / (RESOLUTION - 1)


def field(density):
  """A query whose density is density(|x|, x) and whose colour tells the place."""
  def query(params, xyz, frac):
    square = jnp.sum(xyz**2, -1)
    return Sample(density(jnp.sqrt(square), xyz), 0.5 + 0.5 * xyz)
  return query


def ripple(x):
  return jnp.sin(917 * x[..., 0] + 311 * x[..., 1]) * jnp.cos(533 * x[..., 2] + 71 * x[..., 1])


def near(x, center, radius):
  return jnp.linalg.norm(x - jnp.broadcast_to(jnp.array(center), x.shape), axis=-1) < radius


HARD = field(lambda r, x: 50.0 * (r < 0.5))


def radii(surface):
  return np.linalg.norm(surface.vertices, axis=-1)


@pytest.mark.parametrize('density', [
    lambda r, x: 1000.0 * (r < 0.5),
    lambda r, x: 5.0 * (r < 0.5),
    lambda r, x: (5.0 + 0.5 * ripple(x)) * (r < 0.5),  # noise inside must not pit the surface
    lambda r, x: 0.8 * (r < 0.5),  # a fog that is opaque only through its middle
    lambda r, x: 100.0 * ((r < 0.5) & (r > 0.3)),  # a hollow shell is filled
    lambda r, x: jnp.where(r < 0.5, 100.0, 0.3 * (r < 0.8)),  # a haze round it
    lambda r, x: jnp.where(r < 0.5, 100.0, 30.0 * near(x, (0.8, 0.8, 0.8), 0.15)),  # a floater
])
def test_hard_sphere_is_extracted(density):
  surface = mesh.extract(field(density), {}, RESOLUTION)
  assert np.abs(radii(surface) - 0.5).max() < SPACING
  volume = trimesh.Trimesh(surface.vertices, surface.faces, process=False).volume
  np.testing.assert_allclose(volume, np.pi / 6, rtol=0.04)


@pytest.mark.parametrize('density', [
    lambda r, x: jnp.exp(jnp.clip((0.5 - r) * 60, -15, 7)),
    lambda r, x: 100.0 * jnp.exp(-((r - 0.5) / 0.04) ** 2),
    lambda r, x: 100.0 * jnp.exp(-(r / 0.2) ** 2 / 2),
    lambda r, x: 100.0 * jax.nn.softplus((0.4 - r) * 20),
])
def test_soft_sphere_has_the_silhouette_of_its_opacity(density):
  query = field(density)
  surface = mesh.extract(query, {}, RESOLUTION)
  # The radius at which a ray past the centre loses half of its light, integrated finely.
  along = jnp.linspace(-1.0, 1.0, 4001)
  offset = jnp.linspace(0.0, 0.95, 500)
  xyz = jnp.stack(jnp.broadcast_arrays(offset[:, None], jnp.zeros((1, 1)), along[None, :]), -1)
  depth = jax.jit(lambda p: query({}, p, 1.0).density.sum(-1) * (2.0 / 4000))(xyz)
  edge = float(offset[int((depth > np.log(2.0)).sum())])
  assert radii(surface).std() < 0.1 * SPACING  # a smooth sphere, not stairs
  np.testing.assert_allclose(radii(surface).mean(), edge, atol=0.5 * SPACING)


def test_thin_plates_and_rods_are_extracted():
  plate = field(lambda r, x: 200.0 * ((jnp.abs(x.sum(-1) / np.sqrt(3.0)) < 0.03) & (r < 0.6)))
  surface = mesh.extract(plate, {}, RESOLUTION)
  volume = trimesh.Trimesh(surface.vertices, surface.faces, process=False).volume
  np.testing.assert_allclose(volume, 0.06 * np.pi * 0.36, rtol=0.3)
  # Opaque only to a view along (1, 1, 1), which is none of the three that choose the level.
  across = lambda r, x: jnp.sqrt(jnp.maximum(r**2 - x.sum(-1) ** 2 / 3, 0.0))
  rod = mesh.extract(field(lambda r, x: 0.5 * ((across(r, x) < 0.1) & (r < 0.9))), {}, RESOLUTION)
  assert radii(rod).max() > 0.8


def test_never_empty_while_a_view_is_opaque():
  """Random fields: a ray through the box that loses half its light forbids 'nothing there'."""
  refused = 0
  for seed in range(40):
    rng = np.random.default_rng(seed)
    density = rng.random((17, 17, 17)) ** rng.integers(1, 9) * 10 ** rng.uniform(-2, 1)
    density = density.astype(np.float32) * (rng.random(density.shape) < rng.uniform(0.01, 1))
    origin = rng.uniform(-1, 1, (500, 3))
    direction = rng.normal(size=(500, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    along = np.linspace(-3.5, 3.5, 1000)
    place = origin[:, None] + along[:, None] * direction[:, None]
    cell = np.round((place + 1) * 8).astype(int)
    inside = ((cell >= 0) & (cell < 17)).all(-1)
    depth = (density[tuple(np.clip(cell, 0, 16).transpose(2, 0, 1))] * inside).sum(-1) * 0.007
    try:
      level = mesh.automatic_level(density, 1 / 8)
      assert 0 < level < density.max()
    except MeshError:
      refused += 1
      assert depth.max() < np.log(2.0) * 1.05
  assert 0 < refused < 40


def test_watertight_coloured_and_facing_outwards():
  surface = mesh.extract(HARD, {}, RESOLUTION)
  assert mesh.is_watertight(surface.faces)
  reference = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
  assert reference.is_watertight and reference.is_winding_consistent and reference.volume > 0
  assert reference.body_count == 1 and reference.area_faces.min() > 0
  assert surface.vertices.dtype == np.float32 and surface.faces.dtype == np.int32
  np.testing.assert_allclose(surface.colors, 0.5 + 0.5 * surface.vertices, atol=1.5 * SPACING)


def test_colour_is_that_of_the_visible_skin():
  def query(params, xyz, frac):
    r = jnp.linalg.norm(xyz, axis=-1)
    skin = jnp.array([0.9, 0.1, 0.2])
    rgb = jnp.where((r < 0.4)[..., None], 0.0, jnp.broadcast_to(skin, xyz.shape))
    return Sample(200.0 * (r < 0.5), rgb)
  surface = mesh.extract(query, {}, RESOLUTION)
  np.testing.assert_allclose(surface.colors, np.broadcast_to((0.9, 0.1, 0.2), surface.colors.shape),
                             atol=0.01)


def test_closed_where_the_object_leaves_the_ball():
  """What the renderer never sees (the corners of the box) is no part of the mesh."""
  solid = field(lambda r, x: 100.0 + 0 * r)
  for radius in (1.0, 0.8):
    surface = mesh.extract(solid, {}, RESOLUTION, radius=radius)
    assert mesh.is_watertight(surface.faces)
    np.testing.assert_allclose(radii(surface), radius, atol=SPACING)
  halved = mesh.extract(field(lambda r, x: 100.0 * (x[..., 2] > 0)), {}, RESOLUTION)
  np.testing.assert_allclose(halved.vertices[:, 2].min(), 0, atol=SPACING)
  assert mesh.is_watertight(halved.faces)
  wild = field(lambda r, x: jnp.where(r < 0.5, 50.0, jnp.where(r > 1.05, jnp.nan, 0.0)))
  np.testing.assert_allclose(radii(mesh.extract(wild, {}, RESOLUTION)), 0.5, atol=SPACING)


def test_given_level_and_parameters():
  query = lambda params, x, frac: Sample(
      params['scale'] * frac * jnp.exp(-4 * jnp.linalg.norm(x, axis=-1)), 0.5 + 0 * x)
  params = {'scale': jnp.float32(100.0)}
  for level, frac in ((10.0, 1.0), (20.0, 1.0), (10.0, 0.5)):
    surface = mesh.extract(query, params, RESOLUTION, level, frac)
    np.testing.assert_allclose(radii(surface), np.log(100 * frac / level) / 4, atol=0.1 * SPACING)


@pytest.mark.parametrize('resolution', [17, 33])
def test_a_smooth_sphere_is_exact_to_second_order(resolution):
  # Marching cubes: closed, Euler number 2. Along an edge of length h the log density
  # k (1/4 - r^2) is at most k h^2 / 4 off its chord, and its slope in r is k.
  k, h = 20.0, 2 / (resolution - 1)
  surface = mesh.extract(field(lambda r, x: jnp.exp(k * (0.25 - r * r))), {}, resolution, 1.0)
  solid = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
  assert solid.is_watertight and solid.euler_number == 2
  assert np.abs(radii(surface) - 0.5).max() < h * h / 4 + mesh.NUDGE / k + 1e-5


def test_an_empty_field_is_refused_with_its_density_range():
  with pytest.raises(MeshError, match='between 0 and 0'):
    mesh.extract(field(lambda r, x: 0 * r), {}, 17)
  with pytest.raises(MeshError, match='no view is opaque.*between 0 and 0.3'):
    mesh.extract(field(lambda r, x: 0.3 * (r < 0.2)), {}, 17)
  with pytest.raises(MeshError, match='above the level 60'):
    mesh.extract(HARD, {}, 17, level=60.0)
  with pytest.raises(MeshError, match='not finite'):
    mesh.extract(field(lambda r, x: jnp.where(r < 0.5, jnp.nan, 1.0)), {}, 17)


def test_noise_gives_a_closed_surface():
  query = field(lambda r, x: jnp.exp(4 * ripple(3 * x)))
  surface = mesh.extract(query, {}, 21, level=1.0)
  assert mesh.is_watertight(surface.faces)
  assert trimesh.Trimesh(surface.vertices, surface.faces, process=False).is_watertight


def test_fields_are_compiled_once_for_all_resolutions():
  traces = []
  def query(params, xyz, frac):
    traces.append(xyz.shape)
    return Sample(50.0 * (jnp.linalg.norm(xyz, axis=-1) < params['radius']), 0.5 + 0 * xyz)
  for resolution, radius in ((17, 0.5), (33, 0.6), (45, 0.7)):
    mesh.extract(query, {'radius': jnp.float32(radius)}, resolution)
  assert len(traces) == 2  # the densities and the colours


def test_watertight():
  box = np.asarray(trimesh.creation.box().faces)
  assert mesh.is_watertight(box)
  assert not mesh.is_watertight(box[1:])
  assert not mesh.is_watertight(np.concatenate([box, box]))
  assert not mesh.is_watertight(np.concatenate([box[:1, ::-1], box[1:]]))
  assert not mesh.is_watertight(np.zeros((0, 3), np.int32))


def test_normals_equal_trimesh_and_padding_is_harmless():
  surface = trimesh.creation.torus(0.6, 0.2, major_sections=24, minor_sections=12)
  vertices = jnp.asarray(surface.vertices, jnp.float32)
  faces = jnp.concatenate([jnp.asarray(surface.faces), jnp.zeros((4, 3), jnp.int32)])
  vertices = jnp.concatenate([vertices, jnp.zeros((1, 3))])
  normals = jax.jit(mesh.normals)(vertices, faces)
  weighted = trimesh.geometry.weighted_vertex_normals(
      len(surface.vertices), surface.faces, surface.face_normals,
      np.repeat(surface.area_faces[:, None], 3, 1))
  np.testing.assert_allclose(normals[:-1], weighted, atol=1e-5)
  np.testing.assert_array_equal(normals[-1], 0)
  gradient = jax.jit(jax.grad(lambda v: mesh.normals(v, faces)[:, 0].sum()))(vertices)
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize('change, reason', [
    (lambda v, f: (v, f[:0]), 'no faces'),
    (lambda v, f: (v, f + 1), 'name vertex 8'),
    (lambda v, f: (v, f - 1), 'name vertex -1'),
    (lambda v, f: (v * np.nan, f), 'not finite'),
    (lambda v, f: (v / 0.0, f), 'not finite'),
    (lambda v, f: (v[:, :2], f), 'vertices'),
    (lambda v, f: (v, f.ravel()), 'faces'),
])
@pytest.mark.filterwarnings('ignore:divide by zero')
def test_checked_refuses(change, reason):
  box = trimesh.creation.box()
  with pytest.raises(MeshError, match=reason):
    mesh.checked(Mesh(*change(np.asarray(box.vertices), np.asarray(box.faces))))


def capsule():
  surface = trimesh.creation.capsule(height=1.0, radius=0.3, count=[32, 32])
  return Mesh(surface.vertices.astype(np.float32), surface.faces.astype(np.int32),
              (0.5 + 0.4 * surface.vertices).astype(np.float32))


def test_flat_cut_is_the_solid_above_the_cut():
  whole = capsule()
  low, height = whole.vertices[:, 2].min(), np.ptp(whole.vertices[:, 2])
  cut = mesh.flat_cut(whole, 0.1)
  assert mesh.is_watertight(cut.faces)
  level = low + 0.1 * height
  assert cut.vertices[:, 2].min() == pytest.approx(level, abs=1e-6)
  volume = lambda m: trimesh.Trimesh(m.vertices, m.faces, process=False).volume
  cap = 0.1 * height  # of a sphere of radius 0.3: pi h^2 (3 r - h) / 3
  np.testing.assert_allclose(volume(whole) - volume(cut), np.pi * cap**2 * (0.9 - cap) / 3,
                             rtol=0.02)
  above = cut.vertices[:, 2] > level + 1e-4
  np.testing.assert_allclose(cut.colors[above], 0.5 + 0.4 * cut.vertices[above], atol=1e-5)


def test_refined_is_the_same_solid_with_all_its_shells():
  ball, void = trimesh.creation.icosphere(1, 1.0), trimesh.creation.icosphere(1, 0.5)
  void.invert()
  both = trimesh.util.concatenate([ball, void])
  coarse = Mesh(np.float32(both.vertices), np.int32(both.faces), np.float32(both.vertices))
  for array in (coarse.vertices, coarse.faces):
    array.flags.writeable = False
  fine = mesh.refine(coarse, 0.2)
  refined = trimesh.Trimesh(fine.vertices, fine.faces)
  assert refined.is_watertight
  assert refined.edges_unique_length.mean() < 0.2 < both.edges_unique_length.min()
  np.testing.assert_allclose((refined.volume, refined.area), (both.volume, both.area), rtol=1e-5)


def test_a_capsule_stands_on_a_flat_cut_only():
  tipped = capsule()
  turn = trimesh.transformations.rotation_matrix(0.05, [1, 0, 0])[:3, :3]
  tipped = tipped.replace(vertices=(tipped.vertices @ turn.T).astype(np.float32))
  assert not native.drop(body.from_mesh(tipped), seconds=5.0).stable
  assert native.drop(body.from_mesh(mesh.flat_cut(tipped, 0.15)), seconds=5.0).stable


def test_flat_cut_keeps_the_largest_piece():
  box = lambda size, place: trimesh.creation.box(size).apply_translation(place)
  solid = trimesh.boolean.union([box((2, 1, 0.1), (0, 0, 0.05)), box((0.3, 1, 1), (-0.8, 0, 0.5)),
                                 box((0.6, 1, 1), (0.7, 0, 0.5))])  # a U of two unequal pillars
  solid = Mesh(np.float32(solid.vertices), np.int32(solid.faces),
               np.zeros((len(solid.vertices), 3)))
  left = mesh.flat_cut(solid, 0.2)
  np.testing.assert_allclose([left.vertices.min(0), left.vertices.max(0)],
                             [[0.4, -0.5, 0.2], [1.0, 0.5, 1.0]], atol=1e-6)
  assert mesh.flat_cut(solid, 0) is solid
  with pytest.raises(MeshError, match='between 0 and 1'):
    mesh.flat_cut(solid, 1.5)

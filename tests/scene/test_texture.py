"""Atlas, baking and simplification against the field itself, loops, and trimesh's reading."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.export import mesh_io
from jax3dgen.scene import base, mesh, texture

SIZE, RESOLUTION = 256, 24
SPACING = 2 / (RESOLUTION - 1)


def colors(xyz):
  return 0.5 + 0.4 * jnp.sin(xyz * jnp.array([3.0, 4.0, 5.0]).reshape((1,) * (xyz.ndim - 1) + (3,)))


def query(params, xyz, frac=1.0):
  """An ellipsoid whose colour is a smooth function of the place."""
  del params, frac
  radius = jnp.linalg.norm(xyz / jnp.array([0.7, 0.5, 0.6]).reshape(
      (1,) * (xyz.ndim - 1) + (3,)), axis=-1)
  return base.Sample(60.0 * jnp.clip(12 * (1 - radius) + 0.5, 0.0, 1.0), colors(xyz))


@pytest.fixture(scope='module')
def surface():
  return mesh.extract(query, {}, RESOLUTION)


def rays(points, normals):
  """The field's colours at points of its surface."""
  return mesh.colors_at(query, {}, points, normals, SPACING)


@pytest.fixture(scope='module')
def baked(surface):
  return texture.bake(rays, surface, texture.unwrap(surface, SIZE), SIZE)


def inside(vertices, faces, rng, count=4000):
  """(points of the surface, their faces, weights [N, 3] of the corners), random."""
  points, face, _ = mesh.sample_surface(vertices, faces, *rng.random((3, count)))
  a, b, c = np.moveaxis(vertices[faces[face]].astype(float), 1, 0)
  weights = np.stack([np.linalg.lstsq(np.stack([u, v, w], 1), p, rcond=None)[0]
                      for u, v, w, p in zip(a, b, c, points, strict=True)])
  return points, face, weights


def test_charts_do_not_overlap_and_lie_in_the_square(surface, baked):
  atlas = baked.atlas
  np.testing.assert_array_equal(atlas.source[atlas.faces], surface.faces)
  assert atlas.uv.min() >= 0 and atlas.uv.max() <= 1
  a, b, c = np.moveaxis(atlas.uv[atlas.faces] * SIZE, 1, 0)
  area = 0.5 * np.abs(np.linalg.det(np.stack([b - a, c - a], -1))).sum()
  covered = np.isfinite(texture.texels(atlas, surface.vertices[atlas.source], SIZE)[..., 0]).sum()
  assert covered == pytest.approx(area, rel=0.02)


def test_a_texture_looks_like_its_field(surface, baked):
  """Bilinear texels at random points of the surface against the field's short rays there."""
  points, face, weights = inside(surface.vertices, surface.faces, np.random.default_rng(0))
  uv = (weights[..., None] * baked.atlas.uv[baked.atlas.faces[face]]).sum(1)
  normal = np.asarray(mesh.normals(surface.vertices, surface.faces))[surface.faces[face]]
  normal = (weights[..., None] * normal).sum(1)
  normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
  error = texture.lookup(baked, uv) - rays(points.astype(np.float32), normal.astype(np.float32))
  decibels = -10 * np.log10(np.square(error).mean())
  assert decibels > 35
  assert texture.psnr(rays, surface, baked) == pytest.approx(decibels, abs=0.5)


def test_faces_of_a_cut_have_the_colors_of_the_nearest_surface(surface):
  cut = mesh.flat_cut(surface, 0.3)
  atlas = texture.unwrap(cut, 64)
  black = texture.of_uncut(lambda points, normals: 0 * points, surface, SPACING)
  image = texture.bake(black, cut, atlas, 64).image
  points = texture.texels(atlas, cut.vertices[atlas.source], 64)
  covered = np.isfinite(points[..., 0])
  gap = np.linalg.norm(points[covered][:, None] - surface.vertices[None], axis=-1)
  far, near = gap.min(1) > 1.1 * SPACING, gap.min(1) < 0.9 * SPACING
  assert far.sum() > 50
  np.testing.assert_allclose(image[covered][far], surface.colors[gap.argmin(1)[far]], atol=1e-6)
  assert (image[covered][near] == 0).all()


def test_a_textured_glb(surface, baked, tmp_path):
  """As trimesh reads it: places, corners and the picture, whose rows are stored from the top."""
  mesh_io.write(tmp_path / 'a.glb', surface, baked)
  read = trimesh.load(tmp_path / 'a.glb', force='mesh', process=False)
  source = baked.atlas.source
  np.testing.assert_allclose(read.vertices, surface.vertices[source][:, (0, 2, 1)] * (1, 1, -1),
                             atol=1e-6)
  np.testing.assert_array_equal(read.faces, baked.atlas.faces)
  picture = np.asarray(read.visual.material.baseColorTexture.convert('RGB')) / 255
  np.testing.assert_allclose(picture, baked.image, atol=0.5 / 255 + 1e-6)
  np.testing.assert_allclose(read.visual.uv, baked.atlas.uv * (1, -1) + (0, 1), atol=1e-6)
  again = mesh_io.read(tmp_path / 'a.glb')
  assert len(again.faces) == len(surface.faces)
  with pytest.raises(MeshError, match='written to glb'):
    mesh_io.write(tmp_path / 'a.obj', surface, baked)


def test_fewer_faces(surface):
  """The distance against a loop over all faces; closed, and outward."""
  small, distance = texture.simplify(surface, 400)
  assert len(small.faces) <= 420 and mesh.is_watertight(small.faces)
  assert trimesh.Trimesh(small.vertices, small.faces).volume > 0
  corners = [np.asarray(m.vertices, float)[m.faces] for m in (surface, small)]
  loop = max(np.linalg.norm(trimesh.triangles.closest_point(
      corners[j], np.repeat(p[None], len(corners[j]), 0)) - p[None], axis=-1).min()
             for i, j in ((0, 1), (1, 0)) for p in (surface, small)[i].vertices)
  assert loop <= distance + 1e-6 and distance <= 1.3 * loop + 1e-6
  assert texture.simplify(small, 5000) == (small, 0.0)


def test_a_missing_package_is_named(monkeypatch, surface):
  load = importlib.import_module

  def refuse(name, *args):
    if name == 'xatlas':
      raise ImportError(name)
    return load(name, *args)
  monkeypatch.setattr(importlib, 'import_module', refuse)
  with pytest.raises(ConfigError, match=r"xatlas: pip install 'jax3dgen\[texture\]'"):
    texture.unwrap(surface, 64)


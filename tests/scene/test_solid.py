"""Solids against trimesh in float64, closed forms, and finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jax3dgen.scene import solid

solid_of = jax.jit(solid.solid)


def random_hull(seed, points=30):
  cloud = np.random.default_rng(seed).normal(size=(points, 3)) * (1.0, 0.6, 0.3)
  return trimesh.convex.convex_hull(cloud + 2.0)


def torus(angle):
  surface = trimesh.creation.torus(0.6, 0.2, major_sections=24, minor_sections=12)
  surface.apply_transform(trimesh.transformations.rotation_matrix(angle, (1, 2, 3), (0.5, 0, 1)))
  return surface


def l_prism():
  """The L of 1 x 1 with bars 0.2 thick, 0.4 deep."""
  outline = np.array([(0, 0), (1, 0), (1, 0.2), (0.2, 0.2), (0.2, 1), (0, 1)])
  n = len(outline)
  vertices = np.concatenate([np.insert(outline, 2, 0.0, 1), np.insert(outline, 2, 0.4, 1)])
  cap = np.array([(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 5)])
  side = [((i, (i + 1) % n, n + i), ((i + 1) % n, n + (i + 1) % n, n + i)) for i in range(n)]
  faces = np.concatenate([cap[:, ::-1], cap + n, np.array(side).reshape(-1, 3)])
  return trimesh.Trimesh(vertices, faces, process=False)


@pytest.mark.parametrize('surface', [random_hull(0), random_hull(1), torus(2), torus(3), l_prism()])
def test_equals_trimesh(surface, x64):
  body = solid_of(jnp.asarray(surface.vertices), jnp.asarray(surface.faces))
  np.testing.assert_allclose(body.volume, surface.volume, rtol=1e-12)
  np.testing.assert_allclose(body.center, surface.center_mass, rtol=1e-11, atol=1e-13)
  np.testing.assert_allclose(body.inertia, surface.moment_inertia, rtol=1e-9, atol=1e-12)


def test_box_closed_form():
  size = np.array([0.5, 1.0, 2.0])
  box = trimesh.creation.box(size)
  body = solid_of(jnp.asarray(box.vertices, jnp.float32), jnp.asarray(box.faces))
  square = size**2
  np.testing.assert_allclose(body.volume, 1.0, rtol=1e-6)
  np.testing.assert_allclose(body.inertia, np.diag(square.sum() - square) / 12, atol=1e-6)


def test_l_prism_closed_form():
  prism = l_prism()
  body = solid_of(jnp.asarray(prism.vertices, jnp.float32), jnp.asarray(prism.faces))
  np.testing.assert_allclose(body.volume, 0.144, rtol=1e-5)
  np.testing.assert_allclose(body.center[:2], 0.116 / 0.36, rtol=1e-5)  # 0.3222


def test_translation_winding_and_padding_change_nothing():
  surface = random_hull(4)
  vertices, faces = jnp.asarray(surface.vertices, jnp.float32), jnp.asarray(surface.faces)
  at_home = solid_of(vertices, faces)
  shift = jnp.array([100.0, -50.0, 20.0])
  padded = jnp.concatenate([faces[:, ::-1], jnp.zeros((5, 3), faces.dtype)])
  more = jnp.concatenate([vertices + shift[None, :], jnp.full((2, 3), 1e6)])
  away = solid_of(more, padded)
  np.testing.assert_allclose(away.volume, at_home.volume, rtol=1e-4)
  np.testing.assert_allclose(away.center - shift, at_home.center, atol=1e-3)
  np.testing.assert_allclose(away.inertia, at_home.inertia, rtol=1e-3, atol=1e-4)


def test_gradient_equals_finite_differences(x64):
  surface = torus(5)
  faces, weight = jnp.asarray(surface.faces), jax.random.normal(jax.random.key(0), (13,))

  @jax.jit
  def scalar(vertices):
    body = solid_of(vertices, faces)
    return jnp.concatenate([body.volume[None], body.center, body.inertia.ravel()]) @ weight

  vertices = jnp.asarray(surface.vertices)
  step = jax.random.normal(jax.random.key(1), vertices.shape)
  slope = (scalar(vertices + 1e-5 * step) - scalar(vertices - 1e-5 * step)) / 2e-5
  np.testing.assert_allclose(jnp.vdot(jax.jit(jax.grad(scalar))(vertices), step), slope, rtol=1e-7)


def test_no_volume_gives_finite_figures_and_gradients():
  vertices = jnp.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
  faces = jnp.array([[0, 1, 2], [0, 2, 1]])

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def total(vertices):
    body = solid.solid(vertices, faces)
    return body.center.sum(), body.volume

  (center, volume), gradient = total(vertices)
  assert np.isfinite(center) and np.isfinite(gradient).all() and volume == 0


def test_batches_under_vmap():
  surface = random_hull(6)
  vertices = jnp.asarray(surface.vertices, jnp.float32)
  batch = jnp.stack([vertices, 2 * vertices])
  body = jax.jit(jax.vmap(solid.solid, (0, None)))(batch, jnp.asarray(surface.faces))
  np.testing.assert_allclose(body.volume[1], 8 * body.volume[0], rtol=1e-5)
  np.testing.assert_allclose(body.inertia[1], 32 * body.inertia[0], rtol=1e-4, atol=1e-5)

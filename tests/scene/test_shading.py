"""Backgrounds and lights against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import camera
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Rays, Rendering
from jax3dgen.scene import shading


def one_sample(normal, rgb=(0.2, 0.4, 0.8), weight=1.0, mid=1.0):
  """One ray from (2, 0, 0) along -x with one sample at `mid`."""
  rays = Rays(jnp.array([[2.0, 0.0, 0.0]]), jnp.array([[-1.0, 0.0, 0.0]]))
  normals = jnp.asarray(normal, jnp.float32).reshape(1, 1, 3)
  rendering = Rendering(
      rgb=weight * jnp.array([rgb]), opacity=jnp.array([weight]), depth=jnp.array([weight * mid]),
      normal=weight * normals[:, 0], weights=jnp.array([[weight]]), mids=jnp.array([[mid]]),
      sample_normals=normals)
  return rays, rendering


def directions():
  return jax.jit(lambda: camera.rays(camera.ring(3, 0.2, 2.0, 0.8), 4, 4).direction)()


def test_composite_is_over():
  _, rendering = one_sample((1, 0, 0), weight=0.25)
  image = shading.composite(rendering, jnp.array([[1.0, 0.0, 0.5]]))
  np.testing.assert_allclose(image, [[0.05 + 0.75, 0.1, 0.2 + 0.375]], atol=1e-6)


def test_backgrounds():
  d = directions()
  np.testing.assert_allclose(shading.constant((0.1, 0.2, 0.3))(d)[2, 1, 1], [0.1, 0.2, 0.3])
  random = np.asarray(shading.random_color(jax.random.key(0))(d))
  assert (random == random[:, :1, :1]).all() and len(np.unique(random)) == 9
  assert random.min() >= 0 and random.max() <= 1
  sky = np.asarray(shading.gradient((0.0, 0.0, 0.0), (1.0, 0.5, 0.0))(d))
  np.testing.assert_allclose(sky[..., 0], 0.5 + 0.5 * np.asarray(d[..., 2]), atol=1e-6)
  np.testing.assert_allclose(sky[..., 1], 0.5 * sky[..., 0], atol=1e-6)


@pytest.mark.parametrize('light, cosine', [((3.0, 0, 0), 1.0), ((1.0, 0, 2.0), 0.0),
                                           ((2.0, 1.0, 0), 0.5**0.5), ((-1.0, 0, 0), 0.0)])
def test_lambert_and_textureless_of_one_surface(light, cosine):
  rays, rendering = one_sample((1.0, 0, 0))  # the surface point is (1, 0, 0)
  light = jnp.array([light])
  lit = shading.shade(rendering, rays, light)
  np.testing.assert_allclose(lit.rgb, (0.1 + 0.9 * cosine) * rendering.rgb, atol=1e-6)
  white = shading.shade(rendering, rays, light, textureless=True)
  np.testing.assert_allclose(white.rgb, np.full((1, 3), 0.1 + 0.9 * cosine), atol=1e-6)


def test_shading_of_an_empty_ray_is_zero_and_differentiable():
  rays, rendering = one_sample((0.0, 0, 0), weight=0.0)
  loss = lambda weights: shading.shade(
      rendering.replace(weights=weights, opacity=weights.sum(-1)), rays, jnp.ones((1, 3))).rgb.sum()
  assert loss(rendering.weights) == 0
  assert jnp.isfinite(jax.grad(loss)(rendering.weights)).all()


def test_shading_without_normals_names_the_setting():
  rays, rendering = one_sample((1, 0, 0))
  with pytest.raises(ConfigError, match='render.normals'):
    shading.shade(rendering.replace(sample_normals=None), rays, jnp.ones((1, 3)))


@pytest.mark.parametrize('name', list(shading.LIGHTS))
def test_lights_are_near_their_camera_and_at_their_distance(name):
  cams, light = jax.device_get(jax.jit(lambda key: (lambda cams: (
      cams, shading.LIGHTS[name](key, cams)))(camera.ring(256, 0.3, 2.0, 0.7)))(jax.random.key(1)))
  distance = np.linalg.norm(light, axis=-1)
  assert 0.8 <= distance.min() < 0.83 and 1.47 < distance.max() <= 1.5 + 1e-5
  cosine = np.sum(light * cams.c2w[:, :3, 3], -1) / (2.0 * distance)
  if name == 'magic3d':
    angle = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
    assert angle.max() <= 60.01 and angle.max() > 55  # uniform in elevation: mean 30
    np.testing.assert_allclose(angle.mean(), 30.0, atol=3.5)
  else:
    assert cosine.mean() > 0.5  # towards the camera, spread by a unit normal


def test_styles_are_albedo_first_and_then_follow_their_probabilities():
  draw = jax.jit(lambda step: jax.vmap(lambda k: shading.draw_style(k, step, 100, 0.75, 0.5))(
      jax.random.split(jax.random.key(0), 2000)))
  early, late = draw(99), draw(100)
  assert not early.shaded.any() and not early.textureless.any()
  np.testing.assert_allclose(late.shaded.mean(), 0.75, atol=0.03)
  np.testing.assert_allclose(late.textureless.mean(), 0.375, atol=0.03)


def test_apply_style_chooses_without_recompiling():
  rays, rendering = one_sample((1.0, 0, 0))
  light = jnp.array([[3.0, 1.0, 0]])
  apply = jax.jit(lambda s, t: shading.apply_style(shading.Style(s, t), rendering, rays, light).rgb)
  np.testing.assert_allclose(apply(False, False), rendering.rgb)
  np.testing.assert_allclose(apply(True, False), shading.shade(rendering, rays, light).rgb)
  np.testing.assert_allclose(apply(True, True), shading.shade(rendering, rays, light, True).rgb)

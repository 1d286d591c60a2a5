"""The renderer against closed forms and a loop over samples; no NaN gradients anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import camera
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Rays
from jax3dgen.scene import nerf, render, shading
from jax3dgen.scene.base import Sample

KEY = jax.random.key(0)
render_rays = jax.jit(render.render_rays, static_argnums=(1, 4))
stratified = jax.jit(render.stratified, static_argnums=2)


def fog(params, xyz, frac):
  """Constant density params everywhere, colour by position."""
  return Sample(jnp.broadcast_to(params, xyz.shape[:-1]), 0.5 + 0.5 * xyz)


def ball(params, xyz, frac):
  """A soft ball: density falls off as a Gaussian of params['width'], red."""
  density = 20.0 * jnp.exp(-jnp.sum(xyz * xyz, -1) / (2.0 * params['width']**2))
  return Sample(density, jnp.broadcast_to(jnp.array([1.0, 0.0, 0.0]), xyz.shape))


def some_rays(size=6):
  return jax.jit(lambda: camera.rays(camera.orbit(jnp.array([0.3, 2.0]), 0.4, 2.5, 0.6), size,
                                     size))()


def chord(rays):
  """Length [...] of a ray inside the unit ball, by geometry in numpy."""
  origin, direction = np.asarray(rays.origin), np.asarray(rays.direction)
  nearest = origin - np.sum(origin * direction, -1, keepdims=True) * direction
  return 2.0 * np.sqrt(np.maximum(1.0 - np.sum(nearest**2, -1), 0.0))


@pytest.mark.parametrize('key', [None, KEY])
@pytest.mark.parametrize('n_importance', [0, 8])
def test_constant_density_gives_beer_lambert_opacity(key, n_importance):
  # The opacity is 1 - exp(-sigma L).
  rays, sigma = some_rays(), 0.7
  out = render_rays(key, fog, jnp.float32(sigma), rays,
                           render.RenderOptions(n_samples=9, n_importance=n_importance))
  expected = 1.0 - np.exp(-sigma * chord(rays))
  np.testing.assert_allclose(out.opacity, expected, atol=1e-5)
  np.testing.assert_allclose(out.weights.sum(-1), out.opacity, atol=1e-6)
  assert out.weights.shape == out.mids.shape == rays.origin.shape[:-1] + (9 + n_importance,)
  assert out.normal is None and out.sample_normals is None


def test_depth_of_fog_equals_the_integral():
  rays = Rays(jnp.array([[3.0, 0.0, 0.0]]), jnp.array([[-1.0, 0.0, 0.0]]))
  sigma = 1.3
  out = render_rays(None, fog, jnp.float32(sigma), rays, render.RenderOptions(2000))
  t = np.linspace(2.0, 4.0, 200001)
  expected = np.trapezoid(t * sigma * np.exp(-sigma * (t - 2.0)), t)
  np.testing.assert_allclose(out.depth[0], expected, rtol=1e-4)


def test_intervals_of_hits_misses_and_cameras_inside():
  origin = np.float32([[2.0, 0, 0], [2.0, 0, 0], [0.0, 0, 0], [2.0, 0, 0]]).T
  direction = np.float32([[-1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]]).T
  first, last = jax.jit(render.intervals)(origin, direction, 1.0, 0.1)
  np.testing.assert_allclose(first, [1.0, 0.1, 0.1, 0.1], atol=1e-6)
  np.testing.assert_allclose(last, [3.0, 0.1, 1.0, 0.1], atol=1e-6)


def test_rays_that_miss_are_empty():
  rays = Rays(jnp.array([[3.0, 0.0, 0.0]]), jnp.array([[0.0, 1.0, 0.0]]))
  out = render_rays(KEY, fog, jnp.float32(1e3), rays, render.RenderOptions(8, 8))
  assert out.opacity[0] == 0 and out.depth[0] == 0 and (out.rgb == 0).all()


def test_weights_equal_a_loop():
  # The weights' sum is the opacity.
  rng = np.random.default_rng(0)
  density = rng.exponential(2.0, (7, 3))
  edges = np.sort(rng.uniform(1, 3, (8, 3)), 0)
  through, expected = np.ones(3), np.zeros((7, 3))
  for i in range(7):
    alpha = 1 - np.exp(-density[i] * (edges[i + 1] - edges[i]))
    expected[i] = through * alpha
    through = through * (1 - alpha)
  out = jax.jit(render.optical_weights)(np.float32(density), np.float32(edges))
  np.testing.assert_allclose(out, expected, atol=1e-6)
  np.testing.assert_allclose(1 - out.sum(0), through, atol=1e-6)


def test_a_key_jitters_inside_the_intervals_and_none_centres():
  edges = stratified(np.zeros(5, np.float32), np.ones(5, np.float32), 4)
  places = jax.jit(render.places)
  np.testing.assert_allclose(places(None, edges)[:, 0], [0.125, 0.375, 0.625, 0.875])
  mids, edges = np.asarray(places(KEY, edges)), np.asarray(edges)
  assert ((mids >= edges[:-1]) & (mids <= edges[1:])).all() and np.unique(mids).size == 20


def test_importance_edges_keep_the_coarse_ones_and_follow_the_weights():
  edges = stratified(np.zeros(2, np.float32), np.ones(2, np.float32), 8)
  weights = np.zeros((8, 2), np.float32)
  weights[5, 0], weights[1, 1] = 0.9, 0.2
  importance = jax.jit(render.importance, static_argnums=3)
  out = np.asarray(importance(KEY, edges, weights, 64))
  assert out.shape == (73, 2) and (np.diff(out, axis=0) >= 0).all()
  for ray, spot in ((0, 5), (1, 1)):
    assert np.isin(np.asarray(edges[:, ray]), out[:, ray]).all()
    inside = (out[:, ray] > spot / 8) & (out[:, ray] < (spot + 1) / 8)
    assert inside.sum() >= 62
  spread = np.sort(np.asarray(importance(None, edges, np.ones((8, 2), np.float32), 8))[:, 0])
  assert np.diff(spread).max() < 0.0626  # uniform weights: the centres of the cells


def test_importance_samples_reduce_the_noise_of_a_thin_ball():
  count, width = 256, 0.05
  rays = Rays(jnp.broadcast_to(jnp.array([2.5, 0.0, 0.0]), (count, 3)),
              jnp.broadcast_to(jnp.array([-1.0, 0.0, 0.0]), (count, 3)))
  truth = 1.0 - np.exp(-20.0 * width * np.sqrt(2.0 * np.pi))
  opacity = [render_rays(KEY, ball, {'width': width}, rays, opts).opacity
             for opts in (render.RenderOptions(16), render.RenderOptions(16, 16))]
  coarse, fine = (np.abs(o - truth).mean() for o in opacity)
  assert fine < 0.6 * coarse


@pytest.mark.parametrize('method', ['analytic', 'finite'])
def test_normals_of_a_ball_are_radial(method):
  rays = some_rays()
  opts = render.RenderOptions(8, normals=method)
  out = render_rays(None, ball, {'width': 0.3}, rays, opts)
  rays, out = jax.device_get((rays, out))
  points = rays.origin[..., None, :] + out.mids[..., None] * rays.direction[..., None, :]
  radial = points / np.linalg.norm(points, axis=-1, keepdims=True)
  dense = np.linalg.norm(points, axis=-1) < 0.8
  error = np.where(dense[..., None], out.sample_normals - radial, 0.0)
  assert np.abs(error).max() < 2e-2
  np.testing.assert_allclose(out.normal, (out.weights[..., None] * out.sample_normals).sum(-2),
                             atol=1e-5)


def test_normals_of_nothing_are_zero_and_unknown_methods_are_named():
  rays = some_rays(2)
  out = render_rays(None, fog, jnp.float32(1.0), rays,
                           render.RenderOptions(4, normals='analytic'))
  assert (out.sample_normals == 0).all()
  with pytest.raises(ConfigError, match='sobel'):
    render_rays(None, fog, jnp.float32(1.0), rays, render.RenderOptions(4, normals='sobel'))


@pytest.mark.parametrize('normals', [
    pytest.param(None, marks=pytest.mark.slow), 'analytic', 'finite'])  # both have all of None's
def test_gradients_are_finite_for_empty_and_solid_fields_and_misses(normals):
  field = nerf.field(levels=2, table_log2=8, base=3, finest=6, hidden=8)
  field_params = field.init(KEY)
  away = Rays(jnp.array([[3.0, 0, 0], [0.1, 0, 0]]), jnp.array([[0.0, 1, 0], [0, 0, 1.0]]))
  rays = jax.tree.map(lambda a, b: jnp.concatenate([a.reshape(-1, 3), b]), some_rays(2), away)
  opts = render.RenderOptions(6, 3, normals=normals)

  def query(params, xyz, frac):
    sample = field.query(params['field'], xyz, frac)
    return sample._replace(density=params['scale'] * sample.density)

  @jax.jit
  def gradient(params, rays):
    def loss(params, rays):
      out = render_rays(KEY, query, params, rays, opts)
      return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(out))
    return jax.grad(loss, (0, 1))(params, rays)

  for scale in (0.0, 1e-30, 1.0, 1e4, 1e12):
    grads = gradient({'field': field_params, 'scale': jnp.float32(scale)}, rays)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads)), scale


def test_gradients_equal_finite_differences():
  rays = some_rays(3)
  loss = jax.jit(lambda width: render.render_rays(
      KEY, ball, {'width': width}, rays, render.RenderOptions(16)).opacity.sum())
  numeric = (loss(0.3 + 1e-3) - loss(0.3 - 1e-3)) / 2e-3
  np.testing.assert_allclose(jax.jit(jax.grad(loss))(0.3), numeric, rtol=1e-2)


def test_images_in_chunks_equal_rays_at_once():
  cams = camera.ring(2, 0.3, 2.5, 0.7)
  opts, background = render.RenderOptions(8), shading.constant((0.2, 0.4, 0.6))
  rays = camera.rays(cams, 5, 7)
  expected = shading.composite(render_rays(None, fog, jnp.float32(1.0), rays, opts),
                               background(rays.direction))
  for chunk in (16, 10**6):
    image = render.render_image(fog, jnp.float32(1.0), cams, (5, 7), opts, background, chunk=chunk)
    np.testing.assert_allclose(image, expected, atol=5e-6)


def test_an_image_has_the_object_on_its_projected_side():
  """A ball on the object's left (+y) is right in the front view and left in the back view."""
  place = jnp.array([0.0, 0.5, 0.3])
  def query(params, xyz, frac):
    return ball({'width': 0.1}, xyz - jnp.broadcast_to(place, xyz.shape), frac)

  image = render.render_image(query, None, camera.ring(2, 0.0, 3.0, 0.7), 16,
                              render.RenderOptions(32), shading.constant((0.0, 0.0, 0.0)))
  red = np.asarray(image[..., 0])
  for view, columns in ((0, slice(8, 16)), (1, slice(0, 8))):
    assert red[view, :8, columns].sum() > 0.95 * red[view].sum() > 0

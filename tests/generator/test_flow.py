"""The sampler and the conversions of rectified flows against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Cond
from jax3dgen.generator import base, flow

GRID = (1, .970588, .9375, .9, .857143, .807692, .75, .681818, .6, .5, .375, .214286, 0)


def generator(velocity, shape=(2, 2, 2, 3)):
  return base.Generator(None, None, velocity, None, None, shape)


def conditions(batch=2, seed=0):
  tokens = jax.random.normal(jax.random.key(seed), (batch, 5, 4))
  return Cond(tokens), Cond(jnp.zeros_like(tokens))


def test_grid_of_twelve_steps():
  np.testing.assert_allclose(flow.time_grid(12, 3.0), GRID, atol=1e-6)
  assert flow.time_grid(12, 3.0)[9] == 0.5  # on the bound of the guidance interval


def test_grid_without_rescaling_is_linear():
  np.testing.assert_allclose(flow.time_grid(7), np.linspace(1, 0, 8), rtol=1e-15)


@pytest.mark.parametrize('steps, rescale', [(1, 3.0), (12, 3.0), (50, 4.0), (25, 0.5)])
def test_grid_falls_from_one_to_zero(steps, rescale):
  grid = flow.time_grid(steps, rescale)
  assert grid[0] == 1 and grid[-1] == 0 and (np.diff(grid) < 0).all()
  assert grid.dtype == np.float64


@pytest.mark.parametrize('steps, rescale', [(0, 3.0), (4, 0.0), (4, -1.0)])
def test_invalid_grids_are_refused(steps, rescale):
  with pytest.raises(ConfigError):
    flow.time_grid(steps, rescale)


@pytest.mark.parametrize('steps, rescale, guided', [(12, 3.0, 10), (28, 3.0, 22),
                                                     (50, 4.0, 40)])
def test_guided_steps(steps, rescale, guided):
  """22 evaluations a sample at 12 steps; a float32 grid would have 21 and 41 guided steps."""
  rows = []

  def velocity(params, x, t, cond):
    rows.append(len(x))
    return jnp.zeros_like(x)
  flow.integrate(jnp.zeros((2, 2, 2, 2, 3)), generator(velocity), {}, *conditions(),
                 steps=steps, rescale_t=rescale, guidance=7.5)
  assert len(rows) == steps and sum(rows) == 2 * (steps + guided)


@pytest.mark.parametrize('steps, rescale', [(1, 1.0), (12, 3.0), (7, 2.0)])
def test_constant_velocity(steps, rescale):
  noise = jax.random.normal(jax.random.key(1), (2, 2, 2, 2, 3))
  x0 = flow.integrate(noise, generator(lambda p, x, t, c: jnp.full_like(x, 0.7)), {}, *conditions(),
                      steps=steps, rescale_t=rescale, guidance=0.0)
  np.testing.assert_allclose(x0, noise - 0.7, atol=1e-6)


def test_equal_branches_ignore_guidance():
  velocity = lambda p, x, t, c: x * t[:, None, None, None, None]
  noise = jax.random.normal(jax.random.key(1), (2, 2, 2, 2, 3))
  plain, strong = (flow.integrate(noise, generator(velocity), {}, *conditions(), guidance=w)
                   for w in (0.0, 7.5))
  np.testing.assert_allclose(plain, strong, rtol=1e-5, atol=1e-6)


def test_guidance_is_the_form_with_one_plus_w():
  mean = lambda c: c.tokens.mean((1, 2))[:, None, None, None, None]
  cond, null = conditions()
  x = jnp.zeros((2, 2, 2, 2, 3))
  v = flow.guided(generator(lambda p, x, t, c: x + 1 + mean(c)), {}, x, jnp.ones(2), cond, null,
                  2.0)
  np.testing.assert_allclose(v, jnp.broadcast_to(1 + 3 * mean(cond), v.shape), rtol=1e-5)


def test_a_point_mass_is_reached_in_one_step():
  """v = (x - x_0) / t for data that is one point."""
  point = jax.random.normal(jax.random.key(3), (2, 2, 2, 3))
  velocity = lambda p, x, t, c: (x - point[None]) / t[:, None, None, None, None]
  noise = jax.random.normal(jax.random.key(1), (2, 2, 2, 2, 3))
  x0 = flow.integrate(noise, generator(velocity), {}, *conditions(), steps=1, guidance=0.0)
  np.testing.assert_allclose(x0, jnp.broadcast_to(point[None], x0.shape), atol=1e-6)


def test_gaussian_data_converge_at_first_order():
  """N(m, s^2) data: the flow maps noise to m + s noise, with half the error at twice the steps."""
  m, s = 0.4, 0.6

  def velocity(params, x, t, cond):
    t = t[:, None, None, None, None]
    variance = (1 - t)**2 * s**2 + t**2
    return -m + (t - (1 - t) * s**2) / variance * (x - (1 - t) * m)
  noise = jax.random.normal(jax.random.key(1), (2, 2, 2, 2, 3))
  error = [float(jnp.abs(flow.integrate(noise, generator(velocity), {}, *conditions(), steps=n,
                                        rescale_t=1.0, guidance=0.0) - (m + s * noise)).max())
           for n in (50, 100, 200)]
  np.testing.assert_allclose([error[0] / error[1], error[1] / error[2]], 2.0, rtol=0.1)
  assert error[2] < 0.02


@pytest.mark.parametrize('sigma_min', [0.0, 1e-5, 0.1])
def test_conversions_invert_the_forward_process(sigma_min):
  key = jax.random.split(jax.random.key(0), 3)
  x0, eps = (jax.random.normal(k, (4, 2, 2, 2, 3)) for k in key[:2])
  t = jax.random.uniform(key[2], (4,))
  x_t, v = flow.add_noise(x0, t, eps, sigma_min), flow.velocity(x0, eps, sigma_min)
  np.testing.assert_allclose(flow.to_x0(x_t, t, v, sigma_min), x0, atol=1e-5)
  np.testing.assert_allclose(flow.to_eps(x_t, t, v), eps, atol=1e-5)


def test_errors_of_velocity_and_noise_differ_by_one_minus_t():
  """||v - v*|| (1 - t) = ||eps_theta - eps||."""
  key = jax.random.split(jax.random.key(0), 4)
  x0, eps, v = (jax.random.normal(k, (4, 2, 2, 2, 3)) for k in key[:3])
  t = jax.random.uniform(key[3], (4,))
  x_t = flow.add_noise(x0, t, eps)
  norm = lambda x: jnp.sqrt(jnp.sum(x**2, (1, 2, 3, 4)))
  np.testing.assert_allclose(norm(flow.to_eps(x_t, t, v) - eps),
                             (1 - t) * norm(v - flow.velocity(x0, eps)), rtol=1e-5)


def test_samples_have_the_shape_of_the_generator():
  cond, null = conditions(3)
  x0 = flow.sample(jax.random.key(0), generator(lambda p, x, t, c: 0 * x), {}, cond, null, steps=2)
  np.testing.assert_array_equal(x0, jax.random.normal(jax.random.key(0), (3, 2, 2, 2, 3)))

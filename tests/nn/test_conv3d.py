"""3D convolutions against the library's, and the shuffles against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.nn import conv3d


def library(x, kernel, stride=1, padding='SAME'):
  return jax.lax.conv_general_dilated(x, kernel, 3 * (stride,), padding,
                                      dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'))


def arrays(*shapes):
  rng = np.random.default_rng(0)
  return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize('shape, channels', [((2, 4, 5, 3, 6), 7), ((1, 1, 2, 1, 3), 1)])
def test_slices_equal_the_library(shape, channels):
  x, kernel, g = arrays(shape, (3, 3, 3, shape[-1], channels), (*shape[:-1], channels))
  pull = lambda f: jax.jit(lambda x, k: (f(x, k), *jax.vjp(f, x, k)[1](g)))(x, kernel)
  for output, expected in zip(pull(conv3d.in_slices), pull(library), strict=True):
    np.testing.assert_allclose(output, expected, atol=2e-5)


def test_second_gradient():
  x, kernel = arrays((1, 3, 3, 3, 2), (3, 3, 3, 2, 2))
  def penalty(f):
    slope = jax.grad(lambda x, k: jnp.sum(jnp.tanh(f(x, k))))
    return jax.jit(jax.grad(lambda x, k: jnp.sum(slope(x, k)**2), (0, 1)))(x, kernel)
  for output, expected in zip(penalty(conv3d.in_slices), penalty(library), strict=True):
    np.testing.assert_allclose(output, expected, atol=1e-4)


@pytest.mark.parametrize('platform', ['cpu', 'tpu'])
def test_convolution_by_platform(platform, monkeypatch):
  x, kernel = arrays((1, 4, 4, 4, 3), (3, 3, 3, 3, 5))
  monkeypatch.setattr(jax, 'default_backend', lambda: platform)
  text = str(jax.make_jaxpr(lambda *args: conv3d.convolve(*args))(x, kernel))
  assert ('custom_vjp' in text) == (platform == 'cpu')
  np.testing.assert_allclose(conv3d.convolve(x, kernel), library(x, kernel), atol=1e-5)


@pytest.mark.parametrize('halve', [False, True])
def test_layer(halve):
  x, = arrays((2, 4, 4, 6, 3))
  net = conv3d.Conv3d(5, halve)
  variables = net.init(jax.random.key(0), x)
  kernel = variables['params']['kernel']
  variables['params']['bias'] += jnp.arange(5.0)
  assert kernel.shape == (2, 2, 2, 3, 5) if halve else (3, 3, 3, 3, 5)
  expected = library(x, kernel, 2, 'VALID') if halve else library(x, kernel)
  np.testing.assert_allclose(net.apply(variables, x), np.asarray(expected) + np.arange(5),
                             atol=1e-5)


def test_pixel_shuffle():
  x, = arrays((2, 2, 3, 1, 16))
  output = conv3d.pixel_shuffle(x)
  assert output.shape == (2, 4, 6, 2, 2)
  for c, i, j, k in np.ndindex(2, 2, 2, 2):
    np.testing.assert_array_equal(output[:, i::2, j::2, k::2, c], x[..., 8 * c + 4 * i + 2 * j + k])

"""The hash-grid field: its parameters, its start, its detail and its errors."""

import jax
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.nn import hashgrid
from jax3dgen.scene import nerf


def small(**options):
  return nerf.field(**{'levels': 3, 'table_log2': 8, 'base': 3, 'finest': 8, 'hidden': 8} | options)


def points(count=50):
  return np.random.default_rng(1).uniform(-0.9, 0.9, (count, 3)).astype(np.float32)


def query(field, params, xyz, frac=1.0):
  return jax.jit(lambda params, xyz: field.query(params, xyz, frac))(params, xyz)


def lively(field, key=0):
  """Parameters whose table is large enough to matter."""
  params = jax.jit(field.init)(jax.random.key(key))
  return params | {'grid': {'table': 5e3 * np.asarray(params['grid']['table'])}}


def test_parameters_have_readable_paths_and_float32():
  params = jax.jit(small().init)(jax.random.key(0))
  shapes = jax.tree.map(lambda x: (x.shape, x.dtype.name), params)
  rows = hashgrid.hash_grid(3, 2, 8, 3, 8).rows
  assert shapes == {'grid': {'table': ((rows, 2), 'float32')},
                    'head': {'w0': ((8, 6), 'float32'), 'w1': ((4, 8), 'float32')}}


@pytest.mark.parametrize('blob, bias', [
    ('magic3d', lambda r: 10.0 * (1.0 - 2.0 * r)), ('none', lambda r: 0.0 * r),
    ('dreamfusion', lambda r: 10.0 * np.exp(-2.0 * r**2))])
def test_the_start_is_a_grey_blob(blob, bias):
  field = small(blob=blob)
  sample = query(field, jax.jit(field.init)(jax.random.key(0)), points())
  radius = np.linalg.norm(points(), axis=-1)
  np.testing.assert_allclose(sample.density, np.log1p(np.exp(bias(radius))), atol=2e-3, rtol=1e-3)
  np.testing.assert_allclose(sample.rgb, 0.5, atol=1e-3)


def test_values_equal_a_plain_network_on_the_code():
  field = small(activation='exp', blob='none')
  params = lively(field)
  grid = hashgrid.hash_grid(3, 2, 8, 3, 8)
  code = np.asarray(jax.jit(lambda table, xyz: hashgrid.encode(table, xyz, grid, 0.5, 'plain'))(
      params['grid']['table'], points().T)).T
  head = jax.tree.map(np.asarray, params['head'])
  raw = np.maximum(code @ head['w0'].T, 0.0) @ head['w1'].T
  sample = query(field, params, points(), 0.5)
  np.testing.assert_allclose(sample.density, np.exp(raw[:, 0]), rtol=1e-4)
  np.testing.assert_allclose(sample.rgb, 1.0 / (1.0 + np.exp(-raw[:, 1:])), atol=1e-5)


def test_leading_axes_are_free():
  field = small()
  params = lively(field)
  flat = query(field, params, points(24))
  folded = query(field, params, points(24).reshape(2, 3, 4, 3))
  assert folded.density.shape == (2, 3, 4) and folded.rgb.shape == (2, 3, 4, 3)
  np.testing.assert_allclose(folded.rgb.reshape(-1, 3), flat.rgb, atol=1e-6)
  one = query(field, params, points(24)[0])
  np.testing.assert_allclose(one.density, flat.density[0], rtol=1e-5)


def test_gather_methods_agree_in_value_and_gradient():
  out = []
  for method in ('fused', 'plain'):
    field = small(method=method)
    params = lively(field)
    loss = lambda p, field=field: field.query(p, points(), 0.8).density.sum()
    out.append(jax.jit(jax.value_and_grad(loss))(params))
  for a, b in zip(jax.tree.leaves(out[0]), jax.tree.leaves(out[1])):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('option', [{'blob': 'cube'}, {'activation': 'relu'},
                                    {'interpolation': 'cubic'}, {'levels': 0}, {'finest': 2},
                                    {'hidden': 0}, {'table_log2': 25}])
def test_wrong_settings_are_named(option):
  (value,) = option.values()
  with pytest.raises(ConfigError, match=str(value)):
    small(**option)


def test_density_noise_is_on_the_activation_s_input_and_needs_a_key():
  plain, noisy = small(activation='exp'), small(activation='exp', density_noise=0.5)
  params, xyz = lively(plain), np.zeros((4000, 3), np.float32)
  without = query(plain, params, xyz)
  np.testing.assert_array_equal(query(noisy, params, xyz).density, without.density)
  sample = jax.jit(noisy.query)(params, xyz, 1.0, jax.random.key(1))
  noise = np.log(sample.density / without.density)
  assert abs(noise.mean()) < 0.03 and noise.std() == pytest.approx(0.5, rel=0.05)
  np.testing.assert_allclose(sample.rgb, without.rgb, rtol=1e-6)

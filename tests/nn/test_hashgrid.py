"""The hash grid against loops over corners; the fused form against the plain one, to all orders."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.nn import hashgrid

METHODS = ('plain', 'fused')
encode = jax.jit(hashgrid.encode, static_argnames=('grid', 'method'))


def small(interpolation='linear'):
  """Three levels, of which the last (9^3 corners in 2^8 rows) is hashed."""
  return hashgrid.hash_grid(3, 2, 8, 3, 8, interpolation)


def setup(interpolation='linear', count=40):
  grid = small(interpolation)
  rng = np.random.default_rng(0)
  return (grid, np.float32(rng.normal(size=(grid.rows, 2))),
          np.float32(rng.uniform(-1.0, 1.0, (3, count))))


def by_loops(table, xyz, grid):
  """Features [L F] at one point, corner by corner, in Python integers."""
  out = []
  for level in grid.levels:
    place = (np.clip(xyz, -1, 1) + 1) / 2 * level.resolution
    cell = np.minimum(np.floor(place).astype(int), level.resolution - 1)
    part = place - cell
    if grid.interpolation == 'smoothstep':
      part = 3 * part**2 - 2 * part**3
    total = 0.0
    for corner in itertools.product((0, 1), repeat=3):
      x, y, z = (int(c) + d for c, d in zip(cell, corner))
      if level.dense:
        row = x + (level.resolution + 1) * (y + (level.resolution + 1) * z)
      else:
        row = (x ^ (y * 2654435761 % 2**32) ^ (z * 805459861 % 2**32)) % level.rows
      weight = np.prod([p if d else 1 - p for p, d in zip(part, corner)])
      total = total + weight * table[level.offset + row]
    out.append(total)
  return np.concatenate(out)


def test_row_count_of_the_papers_grid():
  # ProlificDreamer's grid: 16 levels of 2 features from 16 to 2048, at most 2^19 rows each.
  grid = hashgrid.hash_grid(16, 2, 19, 16, 2048)
  assert grid.rows == 6_119_864  # 12.24 M parameters, as ProlificDreamer's
  assert grid.width == 32
  assert [level.dense for level in grid.levels] == [True] * 5 + [False] * 11
  assert grid.levels[0].resolution == 16 and grid.levels[-1].resolution == 2048


def test_one_level_and_bad_names():
  assert [level.resolution for level in hashgrid.hash_grid(1, 2, 10, 5, 5).levels] == [5]
  with pytest.raises(ValueError, match='smoothstep'):
    hashgrid.hash_grid(interpolation='cubic')
  grid, table, xyz = setup()
  with pytest.raises(ValueError, match='fused'):
    hashgrid.encode(table, xyz, grid, method='sorted')


def test_other_numbers_of_features_take_the_plain_form():
  grid = hashgrid.hash_grid(2, 3, 8, 3, 5)
  table = hashgrid.init(jax.random.key(0), grid)
  xyz = np.float32([[0.1], [0.2], [0.3]])
  out = encode(table, xyz, grid)
  expected = by_loops(np.asarray(table), xyz[:, 0], grid)
  np.testing.assert_allclose(out[:, 0], expected, atol=1e-8)
  with pytest.raises(ValueError, match='pairs'):
    hashgrid.encode(table, xyz, grid, method='fused')


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('interpolation', ['linear', 'smoothstep'])
def test_values_equal_loops_over_corners(method, interpolation):
  grid, table, xyz = setup(interpolation)
  assert [level.dense for level in grid.levels] == [True, True, False]
  edges = np.float32([[-1.0, 1.0, 0.0, 1.7], [-1.0, 1.0, 1.0, -3.0], [-1.0, 1.0, -1.0, 0.2]])
  xyz = np.concatenate([xyz, edges], 1)
  out = encode(table, xyz, grid, method=method)
  expected = np.stack([by_loops(table, p, grid) for p in xyz.T], 1)
  np.testing.assert_allclose(out, expected, atol=2e-5)


@pytest.mark.parametrize('interpolation', ['linear', 'smoothstep'])
def test_first_derivatives_of_fused_equal_plain(interpolation):
  grid, table, xyz = setup(interpolation)
  cotangent = np.random.default_rng(2).normal(size=(grid.width, xyz.shape[1])).astype(np.float32)

  def gradients(method):
    loss = lambda t, x: jnp.vdot(cotangent, hashgrid.encode(t, x, grid, 0.7, method))
    return jax.jit(jax.grad(loss, (0, 1)))(table, xyz)

  for fused, plain in zip(gradients('fused'), gradients('plain')):
    np.testing.assert_allclose(fused, plain, atol=1e-4)


def slope_loss(table, xyz, grid, method):
  """A function of d code / d position, as a loss on normals is."""
  mix = jnp.sin(jnp.arange(grid.width, dtype=xyz.dtype))
  height = lambda x: jnp.vdot(jnp.sin(mix), jnp.tanh(hashgrid.encode(table, x, grid, 0.9, method)
                                                     ).sum(1))
  return jnp.sum(jnp.sin(jax.grad(height)(xyz)))


@pytest.mark.parametrize('interpolation', ['linear', 'smoothstep'])
def test_second_derivatives_of_fused_equal_plain(interpolation):
  grid, table, xyz = setup(interpolation)
  gradient = jax.jit(jax.grad(slope_loss, (0, 1)), static_argnums=(2, 3))
  fused, plain = (gradient(table, xyz, grid, m) for m in ('fused', 'plain'))
  for a, b in zip(fused, plain):
    np.testing.assert_allclose(a, b, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize('method', METHODS)
def test_second_derivatives_equal_finite_differences(method, x64):
  grid = small('smoothstep')
  rng = np.random.default_rng(4)
  table, way = rng.normal(size=(2, grid.rows, 2))
  xyz = rng.uniform(-0.9, 0.9, (3, 10))
  loss = jax.jit(lambda t: slope_loss(t, xyz, grid, method))
  numeric = (loss(table + 1e-5 * way) - loss(table - 1e-5 * way)) / 2e-5
  np.testing.assert_allclose(np.vdot(jax.jit(jax.grad(loss))(table), way), numeric, rtol=1e-5)


@pytest.mark.slow
def test_third_derivatives_of_fused_equal_plain(x64):
  grid, table, xyz = setup('smoothstep', count=5)
  table, xyz = jnp.asarray(table, jnp.float64), jnp.asarray(xyz, jnp.float64)
  way = jnp.cos(jnp.arange(table.size, dtype=jnp.float64)).reshape(table.shape)

  def third(method):
    second = lambda t: jnp.vdot(jax.grad(slope_loss)(t, xyz, grid, method), way)
    return jax.grad(second)(table)

  np.testing.assert_allclose(third('fused'), third('plain'), atol=1e-9, rtol=1e-7)


def test_the_fused_backward_pass_holds_one_scatter_per_level():
  grid, table, xyz = setup()
  loss = lambda t: hashgrid.encode(t, xyz, grid, method='fused').sum()
  assert str(jax.make_jaxpr(jax.grad(loss))(table)).count('scatter-add') == len(grid.levels)


@pytest.mark.parametrize('method', METHODS)
def test_levels_are_enabled_from_coarse_to_fine(method):
  grid, table, xyz = setup()
  full = encode(table, xyz, grid, method=method)
  for frac, strength in ((0.0, [1, 0, 0]), (0.25, [1, 0.5, 0]), (0.75, [1, 1, 0.5]),
                         (1.0, [1, 1, 1])):
    np.testing.assert_allclose(encode(table, xyz, grid, frac, method),
                               full * np.repeat(strength, 2)[:, None], atol=1e-5)


@pytest.mark.parametrize('method', METHODS)
def test_points_outside_clamp_and_get_no_gradient(method):
  grid, table, _ = setup()
  outside = np.float32([[1.5], [0.3], [-2.0]])
  at = lambda x: encode(table, x, grid, method=method)
  np.testing.assert_allclose(at(outside), at(np.float32([[1.0], [0.3], [-1.0]])), atol=1e-6)
  gradient = jax.jit(jax.grad(lambda x: at(x).sum()))(outside)
  assert gradient[0] == 0 and gradient[2] == 0 and gradient[1] != 0


def test_nan_positions_read_inside_the_table():
  grid, table, xyz = setup(count=4)
  with_nan = np.where(np.arange(4) == 1, np.float32(np.nan), xyz)
  for level in grid.levels:
    cell, _ = hashgrid._locate(jnp.asarray(0.5 * with_nan + 0.5), level, 'linear', None)
    rows = np.stack(hashgrid._corner_rows(level, cell)) - level.offset
    assert rows.min() >= 0 and rows.max() < level.rows
  out, others = encode(table, with_nan, grid, method='fused'), np.array([0, 2, 3])
  assert np.isnan(out[:, 1]).all()
  np.testing.assert_array_equal(out[:, others], encode(table, xyz, grid, method='fused')[:, others])


def test_fused_maps_over_particles():
  grid, table, xyz = setup()
  tables = np.stack([table, 2.0 * table])
  each = jax.jit(jax.vmap(lambda t: hashgrid.encode(t, xyz, grid, method='fused')))
  out = each(tables)
  np.testing.assert_allclose(out[0], encode(table, xyz, grid), rtol=1e-6)
  np.testing.assert_allclose(out[1], 2.0 * out[0], rtol=1e-6)
  grads = jax.jit(jax.grad(lambda t: each(t).sum()))(tables)
  np.testing.assert_allclose(grads[0], grads[1], atol=1e-5)

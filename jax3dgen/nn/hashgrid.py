"""Multiresolution hash grid (instant-ngp): trainable features at the corners of nested lattices.

Axes: N points, L levels, F features, C = 8 corners of a cell. Points lie in [-1, 1]^3 and clamp to
it. Arrays are component first and points last ([3, N], [L F, N]), so that on a CPU each line of
code is one pass over contiguous memory.

The whole encoding is the trilinear form

  form(table, weights, cotangent) = sum_{l c n f} table[row_lcn, f] weights_lcn cotangent_lfn

whose three partial derivatives are `_interpolate`, `_correlate` and `_scatter` below: each is the
derivative of the others, so derivatives of every order (normals are gradients of the density) need
these three alone, with one scatter-add per level where autodiff would make eight.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

PRIMES = (1, 2654435761, 805459861)
INTERPOLATIONS = ('linear', 'smoothstep')
CORNERS = tuple((c & 1, (c >> 1) & 1, c >> 2) for c in range(8))


class Level(NamedTuple):
  """One lattice: `resolution` cells per side, its rows begin at `offset` of the table."""
  resolution: int
  offset: int
  rows: int
  dense: bool


class HashGrid(NamedTuple):
  """Static description of a grid; hashable. `interpolation` is 'linear' or 'smoothstep'."""
  levels: tuple
  features: int
  interpolation: str

  @property
  def rows(self):
    """Rows of the whole table."""
    return self.levels[-1].offset + self.levels[-1].rows

  @property
  def width(self):
    """Number of encoded features, L F."""
    return len(self.levels) * self.features


def hash_grid(levels=16, features=2, table_log2=19, base=16, finest=2048, interpolation='linear'):
  """A grid of `levels` lattices growing geometrically from `base` to `finest` cells per side.

  A level is dense where its (resolution + 1)^3 corners fit 2^table_log2 rows, and hashed above.
  """
  if interpolation not in INTERPOLATIONS:
    raise ValueError(f"interpolation is 'linear' or 'smoothstep', not {interpolation!r}")
  growth = (finest / base) ** (1.0 / max(levels - 1, 1))
  size, offset, out = 2**table_log2, 0, []
  for level in range(levels):
    resolution = _ceil(base * growth**level)
    corners = (resolution + 1) ** 3
    rows = min(size, -(-corners // 8) * 8)
    out.append(Level(resolution, offset, rows, corners <= rows))
    offset += rows
  return HashGrid(tuple(out), features, interpolation)


def _ceil(x):
  """Ceiling with a tolerance for rounding errors of the growth factor."""
  return int(-(-(x - 1e-6) // 1))


def init(key, grid):
  """Table [rows, F], uniform in +-1e-4."""
  return jax.random.uniform(key, (grid.rows, grid.features), minval=-1e-4, maxval=1e-4)


def encode(table, xyz, grid, frac=1.0, method=None):
  """Features [L F, N] at the points xyz [3, N] of a table [rows, F].

  `frac` in [0, 1] enables the levels from coarse (0: the first alone) to fine (1: all), each with a
  weight that grows linearly. `method` is 'fused' (CPU) or 'plain' (the reference, and
  accelerators); None chooses by the default backend.
  """
  if method not in (None, 'fused', 'plain'):
    raise ValueError(f"method is 'fused' or 'plain', not {method!r}")
  if method == 'fused' and grid.features != 2:
    raise ValueError(f'The fused form packs pairs of features; this grid has {grid.features}.')
  if method is None:
    method = 'fused' if jax.default_backend() == 'cpu' and grid.features == 2 else 'plain'
  box = jnp.clip(xyz, -1.0, 1.0)
  if method == 'fused':
    # XLA would recompute the points (rays, random numbers) in the loop of every level and corner.
    # It fuses nothing into a matrix product, so the scaling is written as one.
    scaled = jnp.matmul(0.5 * jnp.eye(3, dtype=box.dtype), box, precision=jax.lax.Precision.HIGHEST)
  else:
    scaled = 0.5 * box
  unit = scaled + 0.5
  fade = [None] * len(grid.levels)
  if not (isinstance(frac, (int, float)) and frac >= 1.0):
    fade = list(bands(len(grid.levels), frac))
  cells, weights = zip(*(_locate(unit, level, grid.interpolation, strength)
                         for level, strength in zip(grid.levels, fade)))
  interpolate = {'fused': _interpolate, 'plain': _plain}[method]
  return interpolate(grid.levels, table, cells, weights)


def bands(levels, frac):
  """Strength [L] of each level in [0, 1] at progress `frac`."""
  return jnp.clip(1.0 + frac * (levels - 1) - jnp.arange(levels, dtype=jnp.float32), 0.0, 1.0)


def _locate(unit, level, interpolation, strength):
  """Points [3, N] in [0, 1] -> (cell, 3 x [N] int32; weights of its corners, 8 x [N]).

  The weights are scaled by `strength` [], where it is not None.
  """
  scaled = [u * level.resolution for u in unit]
  # The lower clip matters for NaN alone, which must not become an index outside the table.
  cell = [jnp.clip(s.astype(jnp.int32), 0, level.resolution - 1) for s in scaled]
  part = [s - c.astype(s.dtype) for s, c in zip(scaled, cell)]
  if interpolation == 'smoothstep':
    part = [t * t * (3.0 - 2.0 * t) for t in part]
  x, y, z = [(1.0 - t, t) for t in part]
  if strength is not None:
    x = [strength * w for w in x]
  return tuple(cell), tuple(x[i] * y[j] * z[k] for i, j, k in CORNERS)


def _corner_rows(level, cell):
  """Rows of the table, 8 x [N] int32, that hold the corners of a cell."""
  if level.dense:
    side = level.resolution + 1
    first = level.offset + cell[0] + side * (cell[1] + side * cell[2])
    return [first + (i + side * (j + side * k)) for i, j, k in CORNERS]
  products = []
  for axis, prime in zip(cell, PRIMES):
    low = axis.astype(jnp.uint32) * jnp.uint32(prime)
    products.append((low, low + jnp.uint32(prime)))
  x, y, z = products
  mask = jnp.uint32(level.rows - 1)
  return [level.offset + ((x[i] ^ y[j] ^ z[k]) & mask).astype(jnp.int32) for i, j, k in CORNERS]


def _plain(levels, table, cells, weights):
  """The reference: rows gathered by corner, [8, N, F], differentiated by JAX."""
  out = []
  for level, cell, weight in zip(levels, cells, weights):
    corner = table[jnp.stack(_corner_rows(level, cell))]
    out.append(jnp.einsum('cnf,cn->fn', corner, jnp.stack(weight)))
  return jnp.concatenate(out)


# The fast form for CPUs. The corners are unrolled into scalar gathers from the flat table, which
# XLA fuses with index and weight arithmetic into one vectorised loop per feature: no [8, N] array
# exists in the forward pass. Scatters cannot fuse; there a feature pair is packed into one
# complex64.


def _fetch(table, row):
  """The two features [N], [N] of table rows."""
  flat = table.reshape(-1)
  get = lambda i: flat.at[i].get(mode='promise_in_bounds', wrap_negative_indices=False)
  return get(2 * row), get(2 * row + 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _interpolate(levels, table, cells, weights):
  """d form / d cotangent: features [2 L, N]."""
  out = []
  for level, cell, weight in zip(levels, cells, weights):
    first = second = 0.0
    for row, w in zip(_corner_rows(level, cell), weight):
      a, b = _fetch(table, row)
      first, second = first + w * a, second + w * b
    out += [first, second]
  return jnp.stack(out)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _correlate(levels, table, cells, cotangent):
  """d form / d weights: a tuple of 8 x [N] per level."""
  out = []
  for i, (level, cell) in enumerate(zip(levels, cells)):
    pairs = [_fetch(table, row) for row in _corner_rows(level, cell)]
    out.append(tuple(cotangent[2 * i] * a + cotangent[2 * i + 1] * b for a, b in pairs))
  return tuple(out)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _scatter(levels, rows, cells, weights, cotangent):
  """d form / d table: [rows, 2]."""
  out = jnp.zeros((rows,), jnp.result_type(cotangent.dtype, jnp.complex64))
  for i, (level, cell, weight) in enumerate(zip(levels, cells, weights)):
    a, b = cotangent[2 * i], cotangent[2 * i + 1]
    pairs = jnp.concatenate([jax.lax.complex(w * a, w * b) for w in weight])
    row = jnp.concatenate(_corner_rows(level, cell))
    out = out.at[row].add(pairs, mode='promise_in_bounds', wrap_negative_indices=False)
  return jnp.stack([out.real, out.imag], -1)


def _interpolate_bwd(levels, residuals, cotangent):
  table, cells, weights = residuals
  return (_scatter(levels, table.shape[0], cells, weights, cotangent), None,
          _correlate(levels, table, cells, cotangent))


def _correlate_bwd(levels, residuals, weights):
  table, cells, cotangent = residuals
  return (_scatter(levels, table.shape[0], cells, weights, cotangent), None,
          _interpolate(levels, table, cells, weights))


def _scatter_bwd(levels, rows, residuals, table):
  cells, weights, cotangent = residuals
  return (None, _correlate(levels, table, cells, cotangent),
          _interpolate(levels, table, cells, weights))


_interpolate.defvjp(lambda levels, *args: (_interpolate(levels, *args), args), _interpolate_bwd)
_correlate.defvjp(lambda levels, *args: (_correlate(levels, *args), args), _correlate_bwd)
_scatter.defvjp(lambda levels, rows, *args: (_scatter(levels, rows, *args), args), _scatter_bwd)

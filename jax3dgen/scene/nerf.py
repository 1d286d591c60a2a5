"""A radiance field: multiresolution hash grid and a small dense network.

Parameters are {'grid': {'table' [rows, F]}, 'head': {'w0', 'w1'}}, float32, and 'background' where
one is learned (`scene/background`); the first output of the head is the raw density, the other
three the raw colour.
"""

import jax
import jax.numpy as jnp

from jax3dgen.core import rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.nn import hashgrid, heads
from jax3dgen.scene import background as backgrounds
from jax3dgen.scene import base as scenes


def field(levels=16, features=2, table_log2=19, base=16, finest=2048, hidden=64,
          interpolation='linear', activation='softplus', blob='magic3d', method=None,
          density_noise=0.0, background=''):
  """Field of `levels` lattices with `base` to `finest` cells per side of [-1, 1]^3.

  density = activation(raw + blob(|x|) + noise), rgb = sigmoid(raw); the noise, where `query` gets a
  key, is normal with the standard deviation `density_noise`. `method` chooses the gather (see
  `nn.hashgrid.encode`), `background` is one of `background.KINDS`.
  """
  for value, table, name in ((activation, scenes.ACTIVATIONS, 'density activation'),
                             (blob, scenes.BLOBS, 'density blob'),
                             (interpolation, hashgrid.INTERPOLATIONS, 'interpolation')):
    if value not in table:
      raise ConfigError(f'There is no {name} {value!r}; there are {", ".join(table)}.')
  if min(levels, features, hidden) < 1 or not 1 <= base <= finest or not 3 <= table_log2 <= 24:
    raise ConfigError(
        'A field needs levels, features and hidden >= 1, 1 <= base <= finest and table_log2 in '
        f'[3, 24]; got levels={levels}, features={features}, hidden={hidden}, base={base}, '
        f'finest={finest}, table_log2={table_log2}.')
  grid = hashgrid.hash_grid(levels, features, table_log2, base, finest, interpolation)
  activate, bias = scenes.ACTIVATIONS[activation], scenes.BLOBS[blob]

  def init(key):
    params = {'grid': {'table': hashgrid.init(rng.stream(key, 'grid'), grid)},
              'head': heads.init(rng.stream(key, 'head'), (grid.width, hidden, 4))}
    if background:
      params['background'] = backgrounds.init(rng.stream(key, 'background'), background)
    return params

  def query(params, xyz, frac=1.0, key=None):
    # Components first: moveaxis undoes the one with which the renderer made xyz, so neither copies.
    points = jnp.moveaxis(xyz, -1, 0)
    shape = points.shape[1:]
    points = points.reshape(3, -1)
    code = hashgrid.encode(params['grid']['table'], points, grid, frac, method)
    raw = heads.apply(params['head'], code).reshape((4,) + shape)
    radius2 = jnp.sum(points * points, 0).reshape(shape)
    logit = raw[0] + bias(radius2)
    if density_noise and key is not None:
      logit = logit + density_noise * jax.random.normal(key, shape)
    density = activate(logit)
    return scenes.Sample(density, jnp.moveaxis(jax.nn.sigmoid(raw[1:]), 0, -1))

  behind = lambda params, direction: backgrounds.color(params['background'], background, direction)
  return scenes.Field(init, query, behind if background else None)

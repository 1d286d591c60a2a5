"""Learned backgrounds: a colour for each direction, by a small network without biases.

They belong to a field's parameters, {'w0', 'w1', ...}, and are drawn behind training views alone:
an object is delivered without them. 'harmonics' is threestudio's environment map, spherical
harmonics up to degree 2 (its degree 3 counts from 1) and two hidden layers of 16; 'frequency' is
ProlificDreamer's, sines and cosines of 4 octaves and one hidden layer of 16 (with biases there).
"""

import jax
import jax.numpy as jnp

from jax3dgen.nn import heads

WIDTH, OCTAVES = 16, 4


def harmonics(d):
  """The 9 real spherical harmonics [9, N] of unit directions [3, N] up to degree 2."""
  x, y, z = d
  one = jnp.ones_like(x)
  return jnp.stack([
      0.28209479 * one, 0.48860251 * y, 0.48860251 * z, 0.48860251 * x, 1.09254843 * x * y,
      1.09254843 * y * z, 0.31539157 * (3 * z * z - 1), 1.09254843 * x * z,
      0.54627422 * (x * x - y * y)])


def frequencies(d):
  """Directions [3, N] with the sines and cosines of their first octaves: [27, N]."""
  waves = [wave(2.0**k * d) for k in range(OCTAVES) for wave in (jnp.sin, jnp.cos)]
  return jnp.concatenate([d, *waves])


CODES = {'harmonics': (harmonics, (9, WIDTH, WIDTH, 3)),
         'frequency': (frequencies, (27, WIDTH, 3))}
KINDS = ('', *CODES)


def init(key, kind):
  """The parameters of a background of one of KINDS but ''."""
  return heads.init(key, CODES[kind][1])


def color(params, kind, direction):
  """sRGB colours [..., 3] of unit directions [..., 3]."""
  code = CODES[kind][0](jnp.moveaxis(direction, -1, 0).reshape(3, -1))
  rgb = jax.nn.sigmoid(heads.apply(params, code))
  return jnp.moveaxis(rgb.reshape((3,) + direction.shape[:-1]), 0, -1)

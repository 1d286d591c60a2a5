"""Learned backgrounds: the codes of directions, and colours ray by ray."""

import jax
import numpy as np
import pytest
from scipy import special

from jax3dgen.scene import background


def directions(count=20):
  d = np.random.default_rng(0).normal(size=(count, 3))
  return np.float32(d / np.linalg.norm(d, axis=-1, keepdims=True))


def test_harmonics_are_those_of_scipy():
  x, y, z = directions().T
  code = background.harmonics(directions().T)
  for i, (degree, order) in enumerate((n, m) for n in range(3) for m in range(-n, n + 1)):
    value = special.sph_harm_y(degree, abs(order), np.arccos(z), np.arctan2(y, x))
    sign = np.sqrt(2) * (-1)**order if order else 1.0
    part = value.imag if order < 0 else value.real
    np.testing.assert_allclose(code[i], sign * part, atol=1e-6)


@pytest.mark.parametrize('kind', list(background.CODES))
def test_colours_ray_by_ray(kind):
  params = jax.jit(background.init, static_argnums=1)(jax.random.key(0), kind)
  d = directions(6)
  color = background.color(params, kind, d.reshape(2, 3, 3))
  for ray, rgb in zip(d, np.reshape(color, (6, 3)), strict=True):
    code = np.asarray(background.CODES[kind][0](ray[:, None]))[:, 0]
    if kind == 'frequency':
      waves = [f(2**k * ray) for k in range(4) for f in (np.sin, np.cos)]
      np.testing.assert_allclose(code, np.concatenate([ray, *waves]), rtol=1e-5, atol=1e-6)
    for i in range(len(params)):
      code = np.asarray(params[f'w{i}']) @ (np.maximum(code, 0) if i else code)
    np.testing.assert_allclose(rgb, 1 / (1 + np.exp(-code)), rtol=1e-4)
  assert params['w0'].shape[0] == 16 and color.shape == (2, 3, 3)

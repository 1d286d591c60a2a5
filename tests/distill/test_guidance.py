"""Perp-Neg and guidance rescale against a transcription in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Prompt
from jax3dgen.distill import base, guidance
from tests.fakes import gaussian

KEY = jax.random.key(0)
# A prior whose prediction under a condition c [B, 2] is c times two fixed patterns.
PATTERNS = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
PRIOR = gaussian.prior(0.0, 1.0)[0]._replace(
    predict=lambda params, x, t, cond: jnp.einsum('bk,khwc->bhwc', cond, PATTERNS))
ROWS = {'main': (9, 9), 'front': (1, 0), 'side': (0.5, 0.5), 'back': (0, 1), 'overhead': (2, 1),
        'null': (0.1, 0.2), 'negative': (9, 9), 'source': (9, 9)}


def view_at(azimuth_deg, elevation_deg=0.0):
  view = gaussian.view(jnp.zeros((1, 4, 4, 3)), 0.5, None, azimuth=np.deg2rad(azimuth_deg),
                       elevation=np.deg2rad(elevation_deg))
  return view.replace(prompt=Prompt(**{k: jnp.array(v, jnp.float32) for k, v in ROWS.items()}))


def eps(row):
  return np.einsum('k,khwc->hwc', row, PATTERNS)


@pytest.mark.parametrize('azimuth_deg', [0, 30, -60, 89, 91, 120, -150, 180])
def test_perp_neg_is_its_formula(azimuth_deg):
  result = guidance.perp_neg(PRIOR, {}, jnp.zeros((1, 4, 4, 3)), jnp.ones(1), view_at(azimuth_deg),
                             7.0)[0]
  front, side, back, null = (np.array(ROWS[k]) for k in ('front', 'side', 'back', 'null'))
  away = abs(azimuth_deg)
  f = lambda r, a, b, c: a * np.exp(-b * r) + c
  if away < 90:
    r = 1 - away / 90
    positive, against = r * front + (1 - r) * side, (front, side)
    weights = f(r, 4, 0.5, -2.426), f(1 - r, 4, 0.5, -2.426)
  else:
    r = 2 - away / 90
    positive, against = r * side + (1 - r) * back, (side, front)
    weights = f(r, 1, 0.5, -0.606), f(r, 1, 0.5, 0.967)
  main = eps(positive) - eps(null)
  total = main.copy()
  for weight, row in zip(weights, against, strict=True):
    e = eps(row) - eps(null)
    total -= weight * (e - main * (e * main).sum() / (main * main).sum())
  np.testing.assert_allclose(result, eps(null) + 7.0 * total, rtol=1e-3, atol=1e-3)


def test_weights_of_perp_neg_at_the_ends():
  # a exp(-b r) + c at r = 0 and r = 1.
  values = [guidance._fall(f, r) for f in (guidance.FRONT_SIDE, guidance.SIDE_BACK,
                                           guidance.FRONT_BACK) for r in (0, 1)]
  np.testing.assert_allclose(values, [1.574, 0.0001, 0.394, 0.0005, 1.967, 1.574], atol=5e-4)


def test_from_overhead_nothing_is_subtracted():
  result = guidance.perp_neg(PRIOR, {}, jnp.zeros((1, 4, 4, 3)), jnp.ones(1), view_at(20, 70), 3.0)
  expected = eps(np.array(ROWS['null']) + 3.0 * (np.array(ROWS['overhead']) - ROWS['null']))
  np.testing.assert_allclose(result[0], expected, rtol=1e-4, atol=1e-5)


def test_rescale_restores_the_spread_of_the_conditional_prediction():
  view, x, t = view_at(0), jnp.zeros((1, 4, 4, 3)), jnp.ones(1)
  plain = base.classifier_free(PRIOR, {}, x, t, view, 9.0)
  whole = guidance.choose('classifier_free', 1.0)(PRIOR, {}, x, t, view, 9.0)
  half = guidance.choose('classifier_free', 0.5)(PRIOR, {}, x, t, view, 9.0)
  np.testing.assert_allclose(whole.std(), eps(ROWS['front']).std(), rtol=1e-5)
  np.testing.assert_allclose(whole / whole.std(), plain / plain.std(), rtol=1e-4)
  np.testing.assert_allclose(half, 0.5 * (plain + whole), rtol=1e-5)
  assert guidance.choose('classifier_free', 0.0) is base.classifier_free


def test_unknown_rules_are_refused():
  with pytest.raises(ConfigError, match='classifier_free, perp_neg'):
    guidance.choose('perpneg', 0.0)

"""Preference losses against numpy, closed forms and the identities of their derivation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Cond
from jax3dgen.feedback import dpo, dro, flow_loss, regularizers, sft
from jax3dgen.generator import flow

B, SHAPE, BETA = 3, (2, 2, 2, 4), 500.0
KEYS = jax.random.split(jax.random.key(0), 8)
ENTRIES = range(1, 5)


def velocity(params, x_t, t, cond):
  """A small network: entries mix with themselves, t and the mean of the condition."""
  mixed = jnp.tanh(jnp.einsum('...c,cd->...d', x_t, params['mix']))
  return mixed + flow.broadcast(params['time'] * t + cond.tokens.mean((1, 2)), x_t)


def numpy_error(params, x0, cond, t, eps):
  """l [B], one entry after the other in float64."""
  x0, eps, t = (np.asarray(x, np.float64) for x in (x0, eps, t))
  mix, result = np.asarray(params['mix'], np.float64), []
  for i in range(len(x0)):
    x_t = (1 - t[i]) * x0[i] + t[i] * eps[i]
    v = np.tanh(x_t @ mix) + float(params['time']) * t[i] + np.mean(np.float64(cond.tokens[i]))
    result.append(np.mean((v - (eps[i] - x0[i]))**2))
  return np.array(result)


def parameters(seed):
  return {'mix': 0.5 * jax.random.normal(jax.random.key(seed), (4, 4)), 'time': jnp.float32(0.3)}


PARAMS, REFERENCE = parameters(1), parameters(2)
WIN, LOSE, EPS_WIN, EPS_LOSE = (jax.random.normal(k, (B, *SHAPE)) for k in KEYS[:4])
LOSE = 1.5 * LOSE  # the means of both kinds differ
COND = Cond(jax.random.normal(KEYS[4], (B, 5, 6)))
T = flow_loss.levels(KEYS[5], B)
PAIRS = WIN, LOSE, COND, T, EPS_WIN, EPS_LOSE
DRO = jax.jit(functools.partial(dro.loss, velocity))
DPO = jax.jit(functools.partial(dpo.loss, velocity), static_argnames='reduction')


def numpy_errors(params):
  return (numpy_error(params, WIN, COND, T, EPS_WIN), numpy_error(params, LOSE, COND, T, EPS_LOSE))


def numpy_difference():
  (win, lose), (ref_win, ref_lose) = numpy_errors(PARAMS), numpy_errors(REFERENCE)
  return (win - ref_win) - (lose - ref_lose)


def test_dro_against_numpy():
  win, lose = numpy_errors(PARAMS)
  np.testing.assert_allclose(DRO(PARAMS, *PAIRS), np.mean(win - lose), rtol=1e-5)
  np.testing.assert_allclose(dro.damped(velocity, PARAMS, *PAIRS, 0.5), np.mean(win - 0.5 * lose),
                             rtol=1e-5)
  np.testing.assert_allclose(sft.loss(velocity, PARAMS, WIN, COND, T, EPS_WIN), np.mean(win),
                             rtol=1e-5)
  np.testing.assert_allclose(dro.damped(velocity, PARAMS, *PAIRS, 0.0), np.mean(win), rtol=1e-5)


@pytest.mark.parametrize('label', [(1.0, 0.0, 1.0), (0.2, 0.5, 0.9)])
def test_unpaired_dro_against_numpy(label):
  value = dro.unpaired(velocity, PARAMS, WIN, COND, T, EPS_WIN, jnp.array(label))
  expected = np.mean((2 * np.array(label) - 1) * numpy_errors(PARAMS)[0])
  np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_unpaired_dro_of_both_halves_is_half_the_paired_one():
  both = lambda a, b: jnp.concatenate([a, b])
  value = dro.unpaired(velocity, PARAMS, both(WIN, LOSE), Cond(both(COND.tokens, COND.tokens)),
                       both(T, T), both(EPS_WIN, EPS_LOSE), both(jnp.ones(B), jnp.zeros(B)))
  np.testing.assert_allclose(value, DRO(PARAMS, *PAIRS) / 2, rtol=1e-5)


def test_dpo_against_numpy():
  d = numpy_difference()
  for beta, reduction, scale in ((BETA, 'mean', BETA), (0.7, 'sum', 0.7 * np.prod(SHAPE))):
    value = DPO(PARAMS, REFERENCE, *PAIRS, beta, reduction=reduction)
    np.testing.assert_allclose(value, np.mean(np.logaddexp(0, scale / 2 * d)), rtol=1e-5)
  with pytest.raises(ConfigError, match="not 'max'"):
    dpo.loss(velocity, PARAMS, REFERENCE, *PAIRS, BETA, reduction='max')


def test_oracle_1_at_the_reference():
  value, slope = jax.value_and_grad(dpo.of_difference)(jnp.zeros(1), BETA)
  np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
  np.testing.assert_allclose(slope, [125.0])
  np.testing.assert_allclose(DPO(PARAMS, PARAMS, *PAIRS, BETA), np.log(2), rtol=1e-6)
  win, lose = flow_loss.pair_errors(velocity, PARAMS, *PAIRS)
  np.testing.assert_allclose(DRO(PARAMS, *PAIRS), win.mean() - lose.mean(), rtol=1e-5)


def test_oracle_2_swapped_pairs():
  swapped = LOSE, WIN, COND, T, EPS_LOSE, EPS_WIN
  np.testing.assert_allclose(DRO(PARAMS, *swapped), -DRO(PARAMS, *PAIRS), rtol=1e-4)
  forth, back = (DPO(PARAMS, REFERENCE, *pairs, BETA) for pairs in (PAIRS, swapped))
  np.testing.assert_allclose(back, forth - BETA / 2 * np.mean(numpy_difference()), rtol=1e-4)


def test_oracle_3_equal_samples_and_noise():
  same = WIN, WIN, COND, T, EPS_WIN, EPS_WIN
  value, gradient = jax.value_and_grad(functools.partial(dro.loss, velocity))(PARAMS, *same)
  assert float(value) == 0
  assert all(float(jnp.abs(x).max()) < 1e-6 for x in jax.tree.leaves(gradient))
  value, gradient = jax.value_and_grad(functools.partial(dpo.loss, velocity))(
      PARAMS, REFERENCE, *same, BETA)
  np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
  assert all(float(jnp.abs(x).max()) < 1e-4 for x in jax.tree.leaves(gradient))


@pytest.mark.parametrize('d, value, slope', [
    (0.0, 0.693147, 125.0), (-0.01, 0.0788897, 18.9645), (-0.05, 3.72665e-6, 9.3166e-4),
    (0.01, 2.578890, 231.0355)])
def test_oracle_4_table_of_differences(d, value, slope):
  loss, gradient = jax.value_and_grad(dpo.of_difference)(jnp.array([d]), BETA)
  np.testing.assert_allclose([loss, gradient[0]], [value, slope], rtol=2e-5)


def test_oracle_4_invariances():
  """A constant added to all errors leaves DPO; the reference has no gradient and none in DRO."""
  errors = jnp.arange(1.0, 5.0)[:, None]
  np.testing.assert_allclose(dpo.difference(*(errors + 7.0)), dpo.difference(*errors))
  gradient = jax.grad(lambda ref: dpo.loss(velocity, PARAMS, ref, *PAIRS, BETA))(REFERENCE)
  assert all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(gradient))
  l_win, l_lose = errors[:2]
  np.testing.assert_allclose(dpo.difference(*errors) - dro.of_errors(l_win, l_lose), 1.0)


def test_oracle_5_scalar_toy():
  """A constant velocity a: the gradient of DRO is 2 ((x_w - e_w) - (x_l - e_l)) for every a."""
  one = lambda value: jnp.full((1, 1), value)
  loss = lambda a: dro.loss(lambda p, x, t, c: jnp.full_like(x, p), a, one(0.7), one(-0.2),
                            None, jnp.full(1, 0.4), one(0.1), one(0.5))
  for a in (-3.0, 0.0, 40.0):
    np.testing.assert_allclose(jax.grad(loss)(a), 2 * ((0.7 - 0.1) - (-0.2 - 0.5)), rtol=1e-5)


def test_oracle_8_sign_by_the_divergences():
  """(2 o - 1) (KL(q|p) - KL(q|p_ref)) is E_q[(1 - 2 o) log p / p_ref], by quadrature, and has the
  sign and the slope of the unpaired loss where means are velocities."""
  s, v_star, v, v_ref = 0.8, 0.3, 1.1, -0.4
  x = np.linspace(-10, 10, 20001)
  density = lambda m: np.exp(-(x - m)**2 / (2 * s**2)) / (s * np.sqrt(2 * np.pi))
  one = lambda value: jnp.full((1, 1), value)
  for label in (0.0, 1.0, 0.3):
    expectation = np.trapezoid(
        density(v_star) * (1 - 2 * label) * np.log(density(v) / density(v_ref)), x)
    divergence = lambda m: (m - v_star)**2 / (2 * s**2)
    np.testing.assert_allclose(expectation,
                               (2 * label - 1) * (divergence(v) - divergence(v_ref)), rtol=1e-6)
    loss = functools.partial(dro.unpaired, lambda p, x, t, c: jnp.full_like(x, p), x0=one(0.2),
                             cond=None, t=jnp.full(1, 0.6), eps=one(0.5), label=jnp.array([label]))
    change = loss(params=v) - loss(params=v_ref)
    np.testing.assert_allclose(change / (2 * s**2), expectation, rtol=1e-5)


def test_oracle_9_weight_in_terms_of_noise():
  """|v - v*|^2 (1 - t)^2 = |eps_theta - eps|^2."""
  v, target = flow_loss.predict(velocity, PARAMS, WIN, COND, T, EPS_WIN)
  noise = flow.to_eps(flow.add_noise(WIN, T, EPS_WIN), T, v) - EPS_WIN
  np.testing.assert_allclose(flow_loss.mean_square(v - target) * (1 - T)**2,
                             flow_loss.mean_square(noise), rtol=1e-5)


def test_noise_levels_are_logit_normal():
  t = np.asarray(flow_loss.levels(jax.random.key(3), 40_000))
  assert t.dtype == np.float32
  np.testing.assert_allclose([np.median(t), t.mean(), (t > 0.5).mean()], [0.7311, 0.6968, 0.8413],
                             atol=0.01)


def test_one_call_evaluates_both_halves():
  rows = []

  def count(params, x_t, t, cond):
    rows.append((len(x_t), len(t), len(cond.tokens)))
    return velocity(params, x_t, t, cond)
  dro.loss(count, PARAMS, *PAIRS)
  dpo.loss(count, PARAMS, REFERENCE, *PAIRS, BETA)
  assert rows == [(2 * B,) * 3] * 3


def test_regularizers():
  v, v_ref = (np.asarray(jax.random.normal(k, (4, *SHAPE))) for k in KEYS[6:])
  np.testing.assert_allclose(regularizers.anchor(v, v_ref), np.mean((v - v_ref)**2), rtol=1e-5)
  excess = np.mean(v**2, (1, 2, 3, 4)) - np.mean(v_ref**2, (1, 2, 3, 4))
  assert (excess > 0).any() and (excess < 0).any()
  np.testing.assert_allclose(regularizers.growth(v, v_ref), np.mean(np.maximum(excess, 0)),
                             rtol=1e-5)
  for term in (regularizers.anchor, regularizers.growth):
    assert float(jnp.abs(jax.grad(term, 1)(v, v_ref)).max()) == 0
    assert float(term(v, v)) == 0


@pytest.mark.parametrize('weight, bounded', [(1.5, False), (2.5, True)])
def test_anchored_dro_is_bounded_with_a_large_weight(weight, bounded):
  target, start = jnp.zeros((2, 1)), jnp.array([[0.3], [0.3]])

  def value(size):
    v = jnp.array([[0.3], [0.3 + size]])  # the loser's velocity leaves
    win, lose = jnp.split(flow_loss.mean_square(v - target), 2)
    return float(dro.of_errors(win, lose) + weight * regularizers.anchor(v, start))
  assert (value(100.0) > value(0.0)) == bounded

"""Rollouts and their log-probabilities against numpy, D3PO's constants and the ordinary sampler."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jax3dgen.core.errors import ConfigError
from jax3dgen.feedback import rollout
from jax3dgen.prior import sampler, schedule
from tests.fakes import gaussian

# Stable Diffusion 1.5's schedule.
POWER = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
N, K, SHAPE = 3, 6, (3, 2, 2, 1)
KEY = jax.random.key(0)
LOG_PROB = jax.jit(functools.partial(rollout.log_prob, POWER),
                   static_argnames=('eta', 'clip', 'reduction'))


def terms(t, t_next, eta=1.0):
  """(x_0 coefficient, eps coefficient, s) of D3PO's code, in float64."""
  a, p = POWER[t], POWER[t_next]
  s = eta * np.sqrt((1 - p) / (1 - a) * (1 - a / p))
  return np.sqrt(p), np.sqrt(1 - p - s**2), s


def numpy_mean(x, eps, t, t_next, eta=1.0, clip=None):
  on_x0, on_eps, s = terms(t, t_next, eta)
  x0 = (x - np.sqrt(1 - POWER[t]) * eps) / np.sqrt(POWER[t])
  if clip:
    x0 = np.clip(x0, -clip, clip)
    eps = (x - np.sqrt(POWER[t]) * x0) / np.sqrt(1 - POWER[t])
  return on_x0 * x0 + on_eps * eps, s


def test_indices_are_those_of_the_code():
  grid = rollout.indices(20)
  assert grid.tolist() == [*range(951, 0, -50), 0]
  np.testing.assert_array_equal(rollout.previous(grid[:-1], 20), grid[1:])
  assert rollout.previous(30, 20) == 0 and rollout.previous(1100, 20) == 999


@pytest.mark.parametrize('eta, clip', [(1.0, None), (0.4, None), (0.7, 1.0)])
def test_log_prob_against_scipy(eta, clip):
  x, x_next, eps = (np.asarray(jax.random.normal(jax.random.key(i), SHAPE)) for i in range(3))
  t, t_next = np.array([951, 501, 1]), np.array([901, 451, 0])
  expected = []
  for i in range(N):
    mean, s = numpy_mean(x[i], eps[i], t[i], t_next[i], eta, clip)
    expected.append(stats.norm.logpdf(x_next[i], mean, s).mean())
  args = x, x_next, eps, t, t_next
  np.testing.assert_allclose(LOG_PROB(*args, eta=eta, clip=clip), expected, rtol=1e-4)
  np.testing.assert_allclose(LOG_PROB(*args, eta=eta, clip=clip, reduction='sum'),
                             4 * np.array(expected), rtol=1e-4)
  if clip is None:
    float32 = rollout.log_prob(jnp.asarray(POWER, jnp.float32), *args, eta)
    np.testing.assert_allclose(float32, expected, rtol=2e-3)


def test_constants_of_the_schedule():
  """s at 951, 51 and 1; the log-density of an entry at the mean of the last step."""
  zero, t, t_next = np.zeros(SHAPE, np.float32), np.array([951, 51, 1]), np.array([901, 1, 0])
  got = LOG_PROB(zero, zero, zero, t, t_next, eta=1.0)
  s = np.exp(-np.asarray(got) - 0.5 * np.log(2 * np.pi))
  np.testing.assert_allclose(s, [0.644391, 0.040597, 0.020648], rtol=3e-5)
  assert got[2] == pytest.approx(2.961183, abs=2e-5)


def test_ancestral_coefficients_and_the_log_ratio():
  """eta 1 is the DDPM posterior; log pi_2 - log pi_1 from the difference of two predictions."""
  for t, t_next in ((951, 901), (501, 451), (51, 1), (1, 0)):
    b = 1 - POWER[t] / POWER[t_next]
    on_x0, on_eps, s = terms(t, t_next)
    assert s**2 == pytest.approx(b * (1 - POWER[t_next]) / (1 - POWER[t]))
    k = on_eps - on_x0 * np.sqrt((1 - POWER[t]) / POWER[t])
    assert k == pytest.approx(-b / np.sqrt((1 - POWER[t]) * (1 - b)), rel=1e-9)
    x, e1, e2 = (np.asarray(jax.random.normal(jax.random.key(i), (1, 2, 2, 1))) for i in range(3))
    mean, _ = numpy_mean(x, e1, t, t_next)
    x_next = np.float32(mean + s * 0.5)
    d = e2 - e1
    ratio = np.mean(2 * (x_next - mean) * k * d - k**2 * d**2) / (2 * s**2)
    index = lambda i: np.array([i])
    got = [LOG_PROB(x, x_next, e, index(t), index(t_next), eta=1.0) for e in (e1, e2)]
    np.testing.assert_allclose(got[1] - got[0], ratio, rtol=2e-3)
  curvature = [terms(t, n) for t, n in ((951, 901), (501, 451), (51, 1), (1, 0))]
  k = [e - x * np.sqrt((1 - POWER[t]) / POWER[t]) for (x, e, _), t in zip(
      curvature, (951, 501, 51, 1))]
  np.testing.assert_allclose([k**2 / (2 * s**2) for k, (_, _, s) in zip(k, curvature)],
                             [0.3638, 0.1960, 14.747, 0.5032], rtol=2e-3)


PRIOR, PARAMS = gaussian.prior(0.2, 0.6)
LEVELS = sampler.times(PRIOR.schedule, K)


def predict(x, t, cond):
  return PRIOR.predict(PARAMS, x, t, cond)


def renew(cond, keys):
  """The reference's noise shifts the mean that the prior predicts."""
  return cond + 0.1 * jax.vmap(jax.random.normal)(keys)


def keys_of(seed, count):
  return rollout.Keys(*(jax.random.split(jax.random.key(seed + i), count) for i in range(3)))


@functools.partial(jax.jit, static_argnames=('eta', 'clip', 'renew'))
def run(keys, cond, eta=1.0, clip=1.0, renew=None):
  return rollout.sample(predict, PRIOR.schedule, LEVELS, keys, cond, (len(cond), *SHAPE[1:]), eta,
                        clip, renew)


@pytest.mark.parametrize('eta', [1.0, 0.5])
def test_a_rollout_is_what_the_sampler_draws(eta):
  start, noise = jax.random.split(KEY)
  keys = rollout.Keys(start[None], noise[None], start[None])
  cond = jnp.array([0.1])
  got = run(keys, cond, eta=eta)
  expected = jax.jit(lambda: sampler.ddim(KEY, PRIOR, PARAMS, cond, None, (1, *SHAPE[1:]), K, 1.0,
                                          eta, 1.0))()
  assert got.x.shape == (K + 1, 1, 2, 2, 1) and got.log_prob.shape == (K, 1)
  assert got.x.dtype == got.log_prob.dtype == got.x0.dtype == jnp.float32
  np.testing.assert_allclose(got.x0, expected, atol=1e-5)


def test_stored_log_probs_are_recomputed_from_states_and_keys():
  keys, cond = keys_of(3, N), jnp.array([0.0, 0.1, -0.1])
  got = run(keys, cond, renew=renew)
  score = jax.jit(lambda x, x_next, t, t_next, cond: rollout.policy_log_prob(
      predict, PRIOR.schedule, x, x_next, t, t_next, cond, 1.0, 1.0))
  for k in range(K):
    t, t_next = (jnp.full(N, LEVELS[i]) for i in (k, k + 1))
    now = rollout.renewed(renew, cond, keys.reference, k)
    np.testing.assert_allclose(score(got.x[k], got.x[k + 1], t, t_next, now), got.log_prob[k],
                               atol=2e-4)
    if k:  # the reference's noise is another one at each step
      assert np.abs(now - rollout.renewed(renew, cond, keys.reference, 0)).max() > 1e-3
  mixed = rollout.renewed(renew, cond, keys.reference, jnp.array([0, 4, 2]))
  np.testing.assert_array_equal(mixed[1], rollout.renewed(renew, cond, keys.reference, 4)[1])


def test_a_sample_depends_on_its_own_keys_alone():
  keys, cond = keys_of(5, N), jnp.array([0.0, 0.1, -0.1])
  whole = run(keys, cond, renew=renew)
  order = np.array([2, 0, 1])
  part = run(rollout.Keys(*(k[order] for k in keys)), cond[order], renew=renew)
  np.testing.assert_allclose(part.x, whole.x[:, order], atol=1e-6)
  other = keys._replace(sampler=keys_of(9, N).sampler)
  changed = run(other, cond, renew=renew)
  np.testing.assert_array_equal(changed.x[0], whole.x[0])
  assert np.abs(changed.x[1] - whole.x[1]).max() > 1e-2


def test_views_of_an_object_are_one_sample():
  """log p of a group is the mean over its views' own."""
  x = jax.random.normal(KEY, (2, 5, 2, 2, 1))
  x_next = 0.9 * x
  t, t_next = jnp.array([0.5, 0.3]), jnp.array([0.4, 0.2])
  cond = jax.random.normal(jax.random.key(1), (2, 5))
  of = jax.jit(functools.partial(rollout.policy_log_prob, schedule=PRIOR.schedule, eta=0.8),
               static_argnames='predict')
  got = of(predict=rollout.grouped(predict, 5), x=x, x_next=x_next, t=t, t_next=t_next, cond=cond)
  rows = lambda a: a.reshape(-1, *a.shape[2:])
  single = of(predict=predict, x=rows(x), x_next=rows(x_next), t=jnp.repeat(t, 5),
              t_next=jnp.repeat(t_next, 5), cond=rows(cond))
  assert got.shape == (2,)
  np.testing.assert_allclose(got, single.reshape(2, 5).mean(1), rtol=1e-5)


def test_weights_of_the_clean_estimate():
  """By a numerical derivative of the mean, and as measured on 20 steps of the embedded prior."""
  levels = sampler.times(schedule.COSINE, 20)
  weights = np.asarray(rollout.clean_weights(schedule.COSINE, levels, 1.0))
  np.testing.assert_allclose(weights[[0, 10, 18, 19]], [0.0037, 0.18, 49, 8037], rtol=0.06)
  angle = np.asarray(levels, np.float64) * np.pi / 2
  for k, eta in ((3, 1.0), (12, 0.5)):
    a, s, an, sn = np.cos(angle[k]), np.sin(angle[k]), np.cos(angle[k + 1]), np.sin(angle[k + 1])
    std = eta * sn * np.sqrt(1 - (a * sn / (an * s)) ** 2)
    mean = an * np.array([0.7, -0.3]) + (
        np.sqrt(sn**2 - std**2) * (0.3 - a * np.array([0.7, -0.3])) / s)
    got = rollout.clean_weights(schedule.COSINE, levels, eta)[k]
    np.testing.assert_allclose(got, np.diff(mean)[0] ** 2 / (2 * std**2), rtol=1e-3)


@pytest.mark.parametrize('eta', [0.0, -1.0, float('nan')])
def test_steps_without_noise_are_refused(eta):
  x, t = jnp.zeros(SHAPE), jnp.array([5, 5, 5])
  with pytest.raises(ConfigError, match='eta > 0.*no density'):
    rollout.log_prob(POWER, x, x, x, t, t - 1, eta)
  with pytest.raises(ConfigError, match='no density'):
    rollout.sample(predict, PRIOR.schedule, LEVELS, keys_of(0, N), None, SHAPE, eta)

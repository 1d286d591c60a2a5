"""D3PO's loss and objective against closed forms, bounds, and a second way to compute them."""


import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.feedback import d3po, rollout
from jax3dgen.prior import sampler
from tests.fakes import gaussian

B, K, BETA = 4, 6, 0.3
RNG = np.random.default_rng(0)
W, L, REF_W, REF_L = (np.float32(RNG.normal(size=(B, K))) for _ in range(4))
PREFERRED = np.array([1, -1, 0, 1])
LOSS = jax.jit(d3po.loss, static_argnums=(5, 6))
SUM = jax.jit(jax.grad(lambda *x: d3po.loss(*x).sum(), (0, 1, 2, 3)), static_argnums=(5, 6))


def softplus(x):
  return np.logaddexp(0, x)


def test_loss_against_numpy():
  r = (W - REF_W) - (L - REF_L)
  expected = softplus(-PREFERRED[:, None] * BETA * r)
  got = LOSS(W, REF_W, L, REF_L, PREFERRED, BETA, None)
  assert got.shape == (B, K)
  np.testing.assert_allclose(got, expected, rtol=1e-5)
  whole = np.repeat(PREFERRED[:, None], K, 1)
  np.testing.assert_array_equal(LOSS(W, REF_W, L, REF_L, whole, BETA, None), got)
  one = LOSS(W[:, 0], REF_W[:, 0], L[:, 0], REF_L[:, 0], PREFERRED, BETA, None)
  np.testing.assert_allclose(one, expected[:, 0], rtol=1e-5)
  clipped = np.log(np.clip(np.exp(W - REF_W), 0.8, 1.2)) - np.log(np.clip(np.exp(L - REF_L), 0.8,
                                                                          1.2))
  np.testing.assert_allclose(LOSS(W, REF_W, L, REF_L, PREFERRED, BETA, 0.2),
                             softplus(-PREFERRED[:, None] * BETA * clipped), rtol=1e-5)


def test_at_the_reference_the_loss_is_log_two():
  """The gradient is -(beta / 2) for w and beta / 2 for l; swapping them negates it."""
  for clip in (None, 0.1):
    np.testing.assert_allclose(LOSS(W, W, L, L, PREFERRED, BETA, clip), np.log(2), rtol=1e-6)
    to_w, _, to_l, _ = SUM(W, W, L, L, PREFERRED, BETA, clip)
    expected = np.repeat(-0.5 * BETA * PREFERRED[:, None], K, 1)
    np.testing.assert_allclose(to_w, expected, atol=1e-7)
    np.testing.assert_allclose(to_l, -expected, atol=1e-7)
  swapped = LOSS(L, REF_L, W, REF_W, -PREFERRED, BETA, None)
  np.testing.assert_allclose(swapped, LOSS(W, REF_W, L, REF_L, PREFERRED, BETA, None), rtol=1e-6)


def test_ties_have_no_gradient():
  for g in SUM(W, REF_W, L, REF_L, np.zeros(B), BETA, None):
    np.testing.assert_array_equal(g, 0)


def test_bounds_of_the_clipped_loss():
  far = np.full((1, 2), 50.0, np.float32) * np.array([1, -1], np.float32)
  got = LOSS(far, 0 * far, -far, 0 * far, np.ones(1), 0.1, 0.1)
  np.testing.assert_allclose(got[0], [0.683164, 0.703231], atol=1e-6)


def test_a_ratio_outside_the_bounds_has_no_gradient():
  """Where |ratio - 1| > clip, even at 1e300, whose exponential is no float32."""
  r = np.array([[0.05, 0.3, -0.3, 690.0]], np.float32)
  zero = np.zeros_like(r)
  to_w, to_ref, to_l, _ = SUM(r, zero, zero, zero, np.ones(1), 0.1, 0.1)
  assert to_w[0, 0] < 0 < to_ref[0, 0] and (to_l > 0).all()
  np.testing.assert_array_equal(to_w[0, 1:], 0)
  for clip in (0.0, -0.1, 1.5):
    with pytest.raises(ConfigError, match='clip in'):
      d3po.loss(r, r, r, r, 1, 0.1, clip)


def test_beta_of_the_sum_is_smaller_by_the_number_of_entries():
  power = np.linspace(0.999, 0.01, 1000)
  x, x_next, e1, e2 = (np.float32(RNG.normal(size=(2 * B, 3, 4))) for _ in range(4))
  t = np.full(2 * B, 501)

  def value(beta, reduction):
    logp, ref = (rollout.log_prob(power, x, x_next, e, t, t - 50, 1.0, reduction=reduction)
                 for e in (e1, e2))
    return d3po.loss(logp[:B], ref[:B], logp[B:], ref[B:], PREFERRED, beta, None)
  value = jax.jit(value, static_argnums=1)
  np.testing.assert_allclose(value(1.5, 'mean'), value(1.5 / 12, 'sum'), rtol=1e-4)
  assert np.abs(value(1.5, 'mean') - value(1.5, 'sum')).max() > 0.1


def test_a_policy_is_pushed_towards_the_winner():
  """1-D Gaussian with the mean theta, w at 1, l at -1: dL/dtheta = -(beta / 2) (2 / s^2) at 0."""
  s = 0.7
  logp = lambda theta, x: -0.5 * ((x - theta) / s) ** 2
  value = lambda theta: d3po.loss(logp(theta, 1.0), logp(0.0, 1.0), logp(theta, -1.0),
                                  logp(0.0, -1.0), 1, BETA, None)
  assert jax.grad(value)(0.0) == pytest.approx(-BETA / s**2, rel=1e-5)


def test_advantages_of_two_rollouts_are_the_pair():
  pair = np.stack([W, L], 1), np.stack([REF_W, REF_L], 1)
  advantage = PREFERRED[:, None] * np.array([1, -1])
  for clip in (None, 0.2):
    np.testing.assert_allclose(d3po.advantage_loss(*pair, advantage, BETA, clip),
                               LOSS(W, REF_W, L, REF_L, PREFERRED, BETA, clip), rtol=1e-5)
  three = [RNG.normal(size=(2, 3)).astype(np.float32) for _ in range(3)]
  expected = softplus(-BETA * (three[2] * (three[0] - three[1])).sum(1))
  np.testing.assert_allclose(d3po.advantage_loss(*three, BETA, None), expected, rtol=1e-5)


PRIOR, PARAMS = gaussian.prior(0.2, 0.6)
SCHEDULE, SHAPE = PRIOR.schedule, (4, 2, 2, 1)
LEVELS = sampler.times(SCHEDULE, K)
KEYS = rollout.Keys(*(jax.random.split(jax.random.key(i), 4) for i in range(3)))
COND = jnp.array([0.0, 0.0, 0.1, 0.1])
ROWS, STEPS = np.array([[1, 0], [2, 3]]), np.array([2, 4])
ADVANTAGE = np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32)


def renew(cond, keys):
  return cond + 0.1 * jax.vmap(jax.random.normal)(keys)


def policy(theta, calls=None):
  def predict(x, t, cond):
    if calls is not None:
      calls.append(len(x))
    return PRIOR.predict(PARAMS, x, t, cond) + theta * jnp.sin(x)
  return predict


@pytest.fixture(scope='module')
def pool():
  return jax.jit(lambda: rollout.sample(policy(0.0), SCHEDULE, LEVELS, KEYS, COND, SHAPE, 0.8, 1.0,
                                        renew))()


def minibatch(pool):
  """The Minibatch of ROWS at STEPS of a `rollout.Rollout`."""
  flat, k = ROWS.ravel(), jnp.repeat(STEPS, ROWS.shape[1])
  cond = rollout.renewed(renew, COND[flat], KEYS.reference[flat], k)
  return d3po.minibatch(jnp.moveaxis(pool.x, 0, 1), pool.log_prob.T, LEVELS, ROWS, STEPS, cond,
                        ADVANTAGE)


@jax.jit
def objective_and_slope(theta, batch, beta):
  value = lambda theta: d3po.objective(policy(theta), SCHEDULE, batch, beta, 0.8, None, 1.0)
  return jax.value_and_grad(value, has_aux=True)(theta)


def test_the_objective_reads_what_the_rollouts_stored(pool):
  """Against the loss of each pair, and finite differences; the reference is not evaluated."""
  batch = minibatch(pool)
  for i, (row, k) in enumerate(((1, 2), (0, 2), (2, 4), (3, 4))):
    np.testing.assert_array_equal(batch.x[i], pool.x[k, row])
    np.testing.assert_array_equal(batch.x_next[i], pool.x[k + 1, row])
    assert batch.log_prob[i] == pool.log_prob[k, row]
    assert batch.cond[i] == renew(COND, rollout.step_keys(KEYS.reference, k))[row]
  beta = jnp.array([50.0, 100.0])
  (value, metrics), slope = objective_and_slope(0.0, batch, beta)
  np.testing.assert_allclose(value, np.log(2), atol=2e-4)
  ahead, behind = (objective_and_slope(h, batch, beta)[0][0] for h in (1e-3, -1e-3))
  assert slope == pytest.approx(float(ahead - behind) / 2e-3, rel=2e-2) and abs(slope) > 1e-3
  theta = 0.05
  (value, metrics), _ = objective_and_slope(theta, batch, beta)
  ratios = np.array([rollout.policy_log_prob(
      policy(theta), SCHEDULE, batch.x[i:i + 1], batch.x_next[i:i + 1], batch.t[i:i + 1],
      batch.t_next[i:i + 1], batch.cond[i:i + 1], 0.8, 1.0)[0] - batch.log_prob[i]
      for i in range(4)])
  win, lose = ratios[[0, 3]], ratios[[1, 2]]
  expected = softplus(-np.asarray(beta) * (win - lose)).mean()
  assert value == pytest.approx(float(expected), rel=1e-4)
  assert metrics['win'] == pytest.approx(win.mean(), rel=1e-3)
  assert metrics['lose'] == pytest.approx(lose.mean(), rel=1e-3)
  assert metrics['accuracy'] == (win > lose).mean()


def test_no_other_step_is_read(pool):
  """The states and log-probabilities of all other steps may be anything."""
  of = lambda pool: objective_and_slope(0.05, minibatch(pool), jnp.array([50.0, 100.0]))
  read = np.isin(np.arange(K + 1), (*STEPS, *(STEPS + 1)))
  poisoned = pool._replace(
      x=jnp.where(read.reshape(-1, 1, 1, 1, 1), pool.x, jnp.nan),
      log_prob=jnp.where(np.isin(np.arange(K), STEPS)[:, None], pool.log_prob, jnp.nan))
  assert np.isnan(poisoned.log_prob).any()
  jax.tree.map(np.testing.assert_array_equal, of(poisoned), of(pool))


def test_one_call_of_the_policy_for_all_rows(pool):
  batch = minibatch(pool)
  calls = []
  jax.eval_shape(lambda: d3po.objective(policy(0.0, calls), SCHEDULE, batch, 1.0, 0.8))
  assert calls == [4]


def test_sums_with_a_smaller_beta_are_means(pool):
  batch = minibatch(pool)
  of = lambda beta, reduction: d3po.objective(policy(0.05), SCHEDULE, batch, beta, 0.8, None, 1.0,
                                              reduction)[0]
  entries = batch.x[0].size
  np.testing.assert_allclose(of(50.0 / entries, 'sum'), of(50.0, 'mean'), rtol=1e-4)
  assert abs(of(50.0, 'sum') - of(50.0, 'mean')) > 1e-3


def test_even_betas_make_steps_comparable():
  """The loss depends on the error of the clean estimate alone, whatever the step."""
  betas = d3po.even_betas(20.0, SCHEDULE, LEVELS, 1.0)
  x = jax.random.normal(jax.random.key(2), (K, 2, 2, 1))
  t, t_next = LEVELS[:-1], LEVELS[1:]
  alpha, sigma = (f(t * np.pi / 2).reshape(K, 1, 1, 1) for f in (jnp.cos, jnp.sin))
  to_eps = lambda x0: (x - alpha * x0) / sigma
  of = lambda x0, x_next: rollout.policy_log_prob(
      lambda x, t, cond: to_eps(x0), SCHEDULE, x, x_next, t, t_next, None, 1.0)
  at = lambda level: tuple(f(level * np.pi / 2).reshape(K, 1, 1, 1) for f in (jnp.cos, jnp.sin))
  mean = sampler.transition(at(t), at(t_next), x, to_eps(0.0), 1.0).mean  # x_next has no noise
  ratio = of(0.5, mean) - of(0.0, mean)  # -weight .25 at each step
  zero = jnp.zeros(K)
  value = d3po.loss(ratio, zero, zero, zero, 1, betas, None)
  np.testing.assert_allclose(value, softplus(20.0 * 0.25), rtol=2e-3)


def test_the_mean_of_samples_as_a_target():
  x0 = RNG.normal(size=(3, 5, 2, 2, 1))
  np.testing.assert_allclose(d3po.mean_target(x0), sum(x0[:, i] for i in range(5)) / 5)

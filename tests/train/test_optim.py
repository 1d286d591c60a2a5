import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.train import optim


@pytest.mark.parametrize('step, value', [(0, 10.0), (1000, 10.0), (3000, 505.0), (5000, 1000.0),
                                         (9000, 1000.0)])
def test_scalar_is_linear_between_its_steps(step, value):
  # threestudio's C(step) for the list [1000, 10, 1000, 5000].
  np.testing.assert_allclose(optim.scalar((1000, 10.0, 1000.0, 5000), jnp.int32(step)), value)


def test_scalar_with_neighbouring_steps_is_a_switch():
  values = [float(optim.scalar((5000, 0.98, 0.5, 5001), step)) for step in (4999, 5000, 5001)]
  np.testing.assert_allclose(values, [0.98, 0.98, 0.5], rtol=1e-6)


def test_scalar_refuses_other_lengths():
  with pytest.raises(ConfigError, match='start, from, to, end'):
    optim.scalar((0, 1.0), 3)


def test_noise_ranges_go_back_and_forth():
  # 2 n phases of steps / (2 n); together they visit every level.
  for n in (1, 2, 10):
    steps = 200 * n
    ranges = [optim.noise_range('back_and_forth', 0.02, 0.98, k, steps, n) for k in range(steps)]
    edges, counts = np.unique(np.array(ranges), axis=0, return_counts=True)
    assert counts.sum() == steps and len(edges) <= 2 * n
    np.testing.assert_allclose(ranges[0], (max((n - 1) / n, 0.02), 0.98), rtol=1e-6)
    np.testing.assert_allclose(ranges[-1], (0.02, min(1 / n, 0.98)), rtol=1e-6)
    if n == 2:  # both middle phases have the whole range
      np.testing.assert_array_equal(counts, [100, 200, 100])
    assert min(low for low, _ in ranges) < 0.021 and max(high for _, high in ranges) > 0.979


def test_noise_range_falls_as_a_square_root():
  low, high = optim.noise_range('sqrt', 0.3, 0.98, 250, 1000, 2)
  assert low == high
  np.testing.assert_allclose(low, 0.98 - 0.68 * 0.5, rtol=1e-6)
  assert optim.noise_range('uniform', 0.1, 0.9, 5, 10, 2) == (0.1, 0.9)


def params():
  return {'grid': {'table': jnp.ones((4, 2))}, 'head': {'kernel': jnp.ones((2, 3))}}


def test_rates_by_path_are_adams_first_steps():
  # Adam's first step has the size of its learning rate, whatever the gradient.
  tx = optim.adam((('^grid/', 1e-2), ('', 1e-3)), params())
  grads = jax.tree.map(lambda x: 5.0 * x, params())
  new, _, finite = optim.update(tx, grads, tx.init(params()), params())
  np.testing.assert_allclose(new['grid']['table'], 1 - 1e-2, rtol=1e-5)
  np.testing.assert_allclose(new['head']['kernel'], 1 - 1e-3, rtol=1e-5)
  assert finite


def test_a_path_without_a_rate_is_refused():
  with pytest.raises(ConfigError, match='head/kernel'):
    optim.adam((('^grid/', 1e-2),), params())


@pytest.mark.parametrize('poison', [jnp.nan, jnp.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(poison):
  tx = optim.adam((('', 1e-2),), params())
  state = tx.init(params())
  grads = jax.tree.map(jnp.ones_like, params())
  grads['head']['kernel'] = grads['head']['kernel'].at[1, 2].set(poison)
  new, new_state, finite = optim.update(tx, grads, state, params())
  assert not finite
  for a, b in zip(jax.tree.leaves((new, new_state)), jax.tree.leaves((params(), state)),
                  strict=True):
    np.testing.assert_array_equal(a, b)


def test_accumulated_steps_equal_one_step_of_the_mean():
  rates = (('', 1e-2),)
  many, one = optim.adam(rates, params(), accumulate=3), optim.adam(rates, params())
  grads = [jax.tree.map(lambda x, i=i: x * (1.0 + i), params()) for i in range(3)]
  p, s = params(), many.init(params())
  for g in grads:
    p, s, _ = optim.update(many, g, s, p)
  mean = jax.tree.map(lambda *x: sum(x) / 3, *grads)
  q, _, _ = optim.update(one, mean, one.init(params()), params())
  for a, b in zip(jax.tree.leaves(p), jax.tree.leaves(q), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_clip_bounds_the_global_norm():
  tx = optim.adam((('', 1.0),), params(), b1=0.0, b2=0.0, eps=1e3, clip=1.0)
  grads = jax.tree.map(lambda x: 100.0 * x, params())
  new, _, _ = optim.update(tx, grads, tx.init(params()), params())
  moved = optax.tree.norm(jax.tree.map(lambda a, b: a - b, params(), new))
  np.testing.assert_allclose(moved, 1e-3, rtol=0.01)  # with so large an eps, Adam is g / eps


def test_critic_s_rate_warms_up_and_decays_weights():
  cfg = ConfigDict({'fit_rate': 0.1, 'fit_decay': 0.5, 'fit_warmup': 4})
  tx, p = optim.fit_adam(cfg), {'w': jnp.full(3, 2.0)}
  state, expected = tx.init(p), 2.0
  for step in range(6):  # Adam's step of a constant gradient is its rate
    p, state, _ = optim.update(tx, {'w': jnp.ones(3)}, state, p)
    rate = 0.1 * min(step / 4, 1.0)
    expected -= rate * (1.0 + 0.5 * expected)
    np.testing.assert_allclose(p['w'], expected, rtol=1e-5)
  plain = optim.fit_adam(ConfigDict(cfg.to_dict() | {'fit_decay': 0.0, 'fit_warmup': 0}))
  q, _, _ = optim.update(plain, {'w': jnp.ones(3)}, plain.init(p), p)
  np.testing.assert_allclose(q['w'], p['w'] - 0.1, rtol=1e-5)


def test_weight_decay_of_a_field():
  tx = optim.adam((('grid', 1e-2), ('', 1e-3)), params(), decay=0.5)
  zero = jax.tree.map(jnp.zeros_like, params())
  new, _, _ = optim.update(tx, zero, tx.init(params()), params())
  np.testing.assert_allclose(new['grid']['table'], 1 - 0.5e-2, rtol=1e-6)
  np.testing.assert_allclose(new['head']['kernel'], 1 - 0.5e-3, rtol=1e-6)


@pytest.mark.parametrize('value', [0.5, (10, 0.9, 0.2, 30), (0, 0.9, 0.2, 0), (50, 1.0, 0.0, 60)])
def test_a_schedule_is_linear_between_its_bends(value):
  bends = optim.bends(value, 40)
  assert bends[0] == 0 and bends[-1] == 39
  values = [optim.on_host(value, step) for step in range(40)]
  np.testing.assert_allclose(values, [optim.scalar(value, step) for step in range(40)], rtol=1e-6)
  np.testing.assert_allclose(values, np.interp(range(40), bends, [values[n] for n in bends]),
                             rtol=1e-6)

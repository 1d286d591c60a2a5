"""The step that every trained net shares: by hand, on several devices, with bad gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax3dgen.core import parallel, tree
from jax3dgen.train import descent, optim

SEED, DECAY, RATE = 7, 0.9, 0.1
ROWS = 3  # examples that each device draws
START = {'w': jnp.array([[1.0, -2.0], [0.5, 0.0]]), 'b': jnp.zeros(2)}


def loss(params, key):
  """Squared error of a linear model on a few random examples."""
  x = jax.random.normal(key, (ROWS, 2))
  error = x @ params['w'] + params['b'][None] - x.sum(-1, keepdims=True)
  return jnp.mean(error**2), {'largest': jnp.abs(error).max()}


def poisoned(params, key):
  value, metrics = loss(params, key)
  return jnp.nan * value, metrics


def build(function=loss, axis_name=None, tx=None, **options):
  """(step, first state) of `function`, by default under plain gradient descent."""
  tx = tx or optax.sgd(RATE)
  step = descent.build_step(function, tx, SEED, DECAY, axis_name, **options)
  return step, descent.start(START, tx)


def equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_steps_by_hand():
  """Against a loop in NumPy: the gradient, the average that warms up, the metrics."""
  step, state = build()
  step = jax.jit(step)
  w, b = (np.array(START[name], np.float64) for name in 'wb')
  average = w
  for i in range(5):
    x = np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(SEED), i), (ROWS, 2)))
    error = x @ w + b - x.sum(-1, keepdims=True)
    w, b = (w - RATE * 2 / error.size * x.T @ error, b - RATE * 2 / error.size * error.sum(0))
    decay = min(DECAY, (1 + i) / (10 + i))
    average = decay * average + (1 - decay) * w
    state, metrics = step(state)
    assert float(metrics['loss']) == pytest.approx(np.mean(error**2), rel=1e-5)
    assert float(metrics['largest']) == pytest.approx(np.abs(error).max(), rel=1e-5)
    np.testing.assert_allclose(state.params['w'], w, rtol=1e-5)
    np.testing.assert_allclose(state.params['b'], b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.ema['w'], average, rtol=1e-5)
  assert int(state.step) == 5 and int(state.skipped) == 0
  assert metrics.keys() == {'loss', 'largest', 'nonfinite', 'skipped'}


def test_fixed_arrays_reach_the_loss():
  step, state = build(lambda params, key, shift: (jnp.sum((params['b'] - shift) ** 2), {}))
  state, metrics = jax.jit(step)(state, jnp.array([1.0, -2.0]))
  assert float(metrics['loss']) == pytest.approx(5.0)
  np.testing.assert_allclose(state.params['b'], RATE * np.array([2.0, -4.0]), rtol=1e-6)


def test_devices_average_gradients_and_metrics():
  """Each device draws by a key of its own; the norm is that of the mean gradient."""
  count = parallel.device_count()
  step, state = build(axis_name=parallel.AXIS, grad_norm=True)
  spread = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), state)
  after, metrics = jax.jit(jax.vmap(step, axis_name=parallel.AXIS))(spread)
  key = jax.random.fold_in(jax.random.key(SEED), 0)
  gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
  values, grads = [], []
  for i in range(count):
    (value, _), grad = gradient(START, jax.random.fold_in(key, i))
    values.append(float(value))
    grads.append(grad)
  assert len(set(values)) == count
  mean = jax.tree.map(lambda *g: np.mean(g, 0), *grads)
  np.testing.assert_allclose(metrics['loss'], np.mean(values), rtol=1e-5)
  norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(mean)))
  np.testing.assert_allclose(metrics['grad_norm'], norm, rtol=1e-5)
  np.testing.assert_allclose(after.params['w'][0], START['w'] - RATE * mean['w'], rtol=1e-5)


def test_pmap_equals_vmap_and_compiles_once(monkeypatch):
  tx = optim.adam([('w', 1e-2), ('b', 1e-3)], START)
  step, state = build(axis_name=parallel.AXIS, tx=tx)
  count = parallel.device_count()
  mapped, reference = parallel.map(step, 0), jax.jit(jax.vmap(step, axis_name=parallel.AXIS))
  spread, _ = reference(jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), state))
  replicated, _ = mapped(parallel.replicate(state))
  with monkeypatch.context() as patch:
    patch.setattr(jax._src.compiler, 'compile_or_get_cached',
                  lambda *args, **kwargs: pytest.fail('compiled again'))
    for _ in range(9):
      replicated, metrics = mapped(replicated)
  for _ in range(9):
    spread, expected = reference(spread)
  for a, b in zip(jax.tree.leaves(replicated), jax.tree.leaves(spread), strict=True):
    a = np.asarray(a)
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert all((row == a[0]).all() for row in a)
  np.testing.assert_allclose(metrics['loss'], expected['loss'], rtol=1e-5)


def test_a_gradient_that_is_not_finite_is_skipped_and_counted():
  """Two steps in a row are skipped, the optimiser's state included; a good one resets the count."""
  tx = optax.adam(RATE)
  (bad, state), (good, _) = build(poisoned, tx=tx), build(tx=tx)
  first = state
  bad = jax.jit(bad)
  for i in range(2):
    state, metrics = bad(state)
    assert float(metrics['nonfinite']) == 1 and float(metrics['skipped']) == i + 1
    equal((state.params, state.ema, state.opt), (first.params, first.ema, first.opt))
  assert int(state.step) == 2 and int(state.skipped) == 2
  state, metrics = jax.jit(good)(state)
  assert float(metrics['nonfinite']) == 0 and int(state.skipped) == 0
  assert tree.digest(state.params) != tree.digest(first.params)


def test_the_first_state_can_be_donated():
  """No two of its leaves share a buffer, or the first step would donate one twice."""
  tx = optax.adam(RATE)
  state = descent.start(START, tx)
  pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state)]
  assert len(set(pointers)) == len(pointers)

"""Arrays fetched where they are used: equal numbers, for every kind of operation around them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import on_demand

W = 8
HELD = {f'kernel_{i}': np.random.default_rng(i).normal(size=(2, W // 2, W)).astype(np.float32) / 3
        for i in range(4)} | {'bias': np.full(W, 0.1, np.float32)}
FETCH = {name: None if name == 'bias' else lambda part: part.reshape(W, W) for name in HELD}
WHOLE = {name: FETCH[name](x) if FETCH[name] else x for name, x in HELD.items()}
X = np.random.default_rng(9).normal(size=(3, W)).astype(np.float32)


def layers(p, x):
  for i in range(4):
    x = jax.nn.gelu(x @ p[f'kernel_{i}'] + p['bias'][None])
  return x


def looped(p, x):
  kernels = jnp.stack([p['kernel_0'], p['kernel_1']])
  x, _ = jax.lax.scan(lambda x, kernel: (jax.nn.relu(x @ kernel), None), x, kernels)
  return jax.lax.cond(x.sum() > 0, lambda: x @ p['kernel_2'], lambda: x @ p['kernel_3'])


def half(p, x):
  """The kernels are cast first, which is no use of theirs by itself."""
  low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), p)
  return layers(low, x.astype(jnp.bfloat16)).astype(jnp.float32)


def adapted(p, x):
  """Kernels changed by others, returned themselves, and looked up by integers."""
  table = p['kernel_3'][jnp.array([0, 3, 3])]
  return {'x': x @ (p['kernel_0'] + 0.1 * p['bias'][None] * x[:1]) + table, 'same': p['kernel_1'],
          'number': 3.0}


@pytest.mark.parametrize('function', [
    layers, looped, half, adapted, lambda p, x: jax.jit(layers)(p, x),
    lambda p, x: jax.grad(lambda x: jax.checkpoint(layers)(p, x).sum())(x),
    lambda p, x: jax.grad(lambda x: half(p, x).sum())(x),
    lambda p, x: jax.vmap(functools.partial(looped, p))(jnp.stack([x, x]))])
def test_equal_numbers(function):
  result = jax.jit(lambda parts, x: on_demand.run(function, parts, FETCH, x))(HELD, X)
  expected = jax.jit(function)(WHOLE, X)
  assert jax.tree.structure(result) == jax.tree.structure(expected)
  jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), result, expected)


def test_only_one_layer_is_whole_at_a_time():
  count, wide = 16, 128
  parts = {f'{i:02}': np.zeros((4, wide // 4, wide), np.float32) for i in range(count)}

  def net(p, x):
    for name in sorted(p):
      x = jnp.tanh(x @ p[name].astype(jnp.bfloat16).astype(jnp.float32).T)
    return x

  join = lambda part: jnp.concatenate([part[i] for i in range(4)])
  fetch = dict.fromkeys(parts, join)
  step = lambda p, x: jax.grad(lambda x: net(p, x).sum())(x)
  temporary = {}
  for name, function in (
      ('first', lambda parts, x: step(jax.tree.map(join, parts), x)),
      ('on demand', lambda parts, x: on_demand.run(step, parts, fetch, x))):
    compiled = jax.jit(function).lower(parts, np.zeros((1, wide), np.float32)).compile()
    temporary[name] = compiled.memory_analysis().temp_size_in_bytes
  halves = 2 * count * wide * wide  # what of all layers together is kept for the way back
  assert temporary['first'] > 0.9 * halves > 2.5 * temporary['on demand']

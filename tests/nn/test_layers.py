"""Layers against torch and against loops, with random weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from jax3dgen.nn import layers
from tests import nets


def tensor(x):
  return torch.from_numpy(np.array(x))


def normal(seed, *shape):
  """Seeded standard normal numbers."""
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def torch_attention(params, x, context, heads, mask=None):
  """What `layers.Attention` computes, by torch's own attention."""
  weight = lambda name: tensor(params[name]['kernel'])
  split = lambda y: y.reshape(*y.shape[:2], heads, -1).transpose(1, 2)
  q, k, v = (split(a @ weight(n)) for a, n in ((x, 'query'), (context, 'key'), (context, 'value')))
  mask = None if mask is None else mask[:, None, None, :]
  out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
  return out.transpose(1, 2).reshape(x.shape) @ weight('out') + tensor(params['out']['bias'])


def test_attention_equals_torch():
  x, context = normal(0, 2, 5, 12), normal(1, 2, 7, 9)
  mask = jnp.arange(7)[None, :] < jnp.array([[4], [7]])
  for source, visible in ((None, None), (context, None), (context, mask)):
    net = layers.Attention(heads=3)
    params = nets.random_parameters(net.init, jax.random.key(2), x, source, visible,
                                    scale=0.3)['params']
    got = jax.jit(net.apply)({'params': params}, x, source, visible)
    want = torch_attention(params, tensor(x), tensor(x if source is None else source), 3,
                           None if visible is None else tensor(visible))
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_attention_to_a_wholly_masked_row_is_finite():
  x = normal(0, 1, 3, 4)
  net = layers.Attention(heads=2)
  variables = nets.random_parameters(net.init, jax.random.key(1), x)
  out = jax.jit(net.apply)(variables, x, mask=np.zeros((1, 3), bool))
  # Every position is masked alike: the weights are equal.
  value = np.asarray(x @ variables['params']['value']['kernel']).mean(1)
  dense = variables['params']['out']
  np.testing.assert_allclose(out, np.tile(value @ dense['kernel'] + dense['bias'], (1, 3, 1)),
                             atol=1e-6)


def test_time_embedding_is_the_sinusoid_of_a_thousand_step_network():
  t = np.array([0.0, 0.123, 1.0], np.float32)
  want = [[f(1000.0 * float(s) * math.exp(-math.log(10_000.0) * i / 4))
           for f in (math.cos, math.sin) for i in range(4)] for s in t]
  np.testing.assert_allclose(layers.time_embedding(jnp.asarray(t), 8), want, atol=2e-4)


def test_space_to_depth_keeps_each_block_in_row_order():
  x = np.asarray(normal(0, 2, 4, 6, 3))
  got = layers.space_to_depth(x, 2)  # of NumPy's arrays as well
  for row in range(2):
    for column in range(3):
      block = x[:, 2 * row:2 * row + 2, 2 * column:2 * column + 2].reshape(2, -1)
      np.testing.assert_array_equal(got[:, row, column], block)
  np.testing.assert_array_equal(layers.depth_to_space(got, 2), x)


def test_sample_norm_divides_by_the_root_mean_square():
  x, scale = 7.0 * normal(0, 3, 4, 4, 5), normal(1, 5)
  got = np.asarray(jax.jit(layers.SampleNorm().apply)({'params': {'scale': scale}}, x))
  for row, out in zip(np.asarray(x), got):
    want = row / np.sqrt(np.mean(row**2)) * np.asarray(scale)
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)


def test_mlp_equals_torch():
  x = normal(0, 2, 3, 4)
  net = layers.Mlp(expansion=3)
  params = nets.random_parameters(net.init, jax.random.key(1), x, scale=0.5)['params']
  dense = lambda y, p: y @ tensor(p['kernel']) + tensor(p['bias'])
  want = dense(F.gelu(dense(tensor(x), params['in']), approximate='tanh'), params['out'])
  np.testing.assert_allclose(jax.jit(net.apply)({'params': params}, x), want, atol=2e-6)

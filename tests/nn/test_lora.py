"""Adapters against the product written out, on dense layers, convolutions and the embedded net."""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.nn import lora

KEY = jax.random.key(0)
PARAMS = {'dense': {'kernel': jax.random.normal(KEY, (6, 4)), 'bias': jnp.ones(4)},
          'conv': {'kernel': jax.random.normal(KEY, (3, 3, 5, 7))},
          'norm': {'scale': jnp.ones(4)}}


def test_fresh_adapters_change_nothing():
  merged = lora.merge(PARAMS, lora.init(KEY, PARAMS, 3))
  jax.tree.map(np.testing.assert_array_equal, merged, PARAMS)


def test_kernels_are_found_by_path_and_counted():
  every = lora.init(KEY, PARAMS, 3)
  assert set(every) == {'dense/kernel', 'conv/kernel'}
  assert {n: sum(x.size for x in jax.tree.leaves(a)) for n, a in every.items()} == {
      'dense/kernel': 3 * (6 + 4), 'conv/kernel': 3 * (45 + 7)}  # rank (in + out)
  assert set(lora.init(KEY, PARAMS, 3, '^dense')) == {'dense/kernel'}
  assert lora.init(KEY, PARAMS, 3, 'nowhere') == {}
  # The first factor is within the bound of Kaiming's rule with slope sqrt(5): in^-1/2.
  assert 0.9 * 45**-0.5 < jnp.abs(every['conv/kernel']['a']).max() <= 45**-0.5


def test_rank_0_trains_whole_kernels():
  fresh = lora.init(KEY, PARAMS, 0, 'conv')
  assert {n: a['whole'].shape for n, a in fresh.items()} == {'conv/kernel': (3, 3, 5, 7)}
  jax.tree.map(np.testing.assert_array_equal, lora.merge(PARAMS, fresh), PARAMS)
  moved = lora.merge(PARAMS, {'conv/kernel': {'whole': jnp.ones((3, 3, 5, 7))}}, scale=0.5)
  np.testing.assert_allclose(moved['conv']['kernel'], PARAMS['conv']['kernel'] + 0.5)


def test_merged_equals_a_path_beside_the_layer():
  adapters = lora.init(KEY, PARAMS, 2)
  adapters = jax.tree.map(lambda x: jax.random.normal(jax.random.key(x.size), x.shape), adapters)
  merged = lora.merge(PARAMS, adapters, scale=0.5)
  x = jax.random.normal(KEY, (8, 6))
  beside = adapters['dense/kernel']
  np.testing.assert_allclose(
      x @ merged['dense']['kernel'],
      x @ PARAMS['dense']['kernel'] + 0.5 * (x @ beside['a'].T) @ beside['b'].T, rtol=1e-4,
      atol=1e-5)
  image, beside = jax.random.normal(KEY, (2, 9, 9, 5)), adapters['conv/kernel']
  convolve = lambda k: jax.lax.conv_general_dilated(
      image, k, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  low = convolve(beside['a'].T.reshape(3, 3, 5, 2))  # a convolution to `rank` channels, then 1 x 1
  np.testing.assert_allclose(
      convolve(merged['conv']['kernel']),
      convolve(PARAMS['conv']['kernel']) + 0.5 * jnp.einsum('bhwr,or->bhwo', low, beside['b']),
      rtol=1e-3, atol=1e-3)
  np.testing.assert_array_equal(merged['norm']['scale'], PARAMS['norm']['scale'])


def test_modules_of_trellis_are_selected_by_name():
  """DSO's setting: rank 64 on the attention of TRELLIS-image-large, by shapes alone."""
  width, kernel = 1024, lambda i, o: {'kernel': jax.ShapeDtypeStruct((i, o), jnp.float32)}
  block = {'self_attn': {'to_qkv': kernel(width, 3 * width), 'to_out': kernel(width, width)},
           'cross_attn': {'to_q': kernel(width, width), 'to_kv': kernel(width, 2 * width),
                          'to_out': kernel(width, width)},
           'mlp': {'0': kernel(width, 4 * width)}, 'adaLN': kernel(width, 6 * width)}
  params = {'blocks': {str(i): block for i in range(24)}, 'out_layer': kernel(width, 8)}
  pattern = '(self_attn|cross_attn)/(to_q|to_kv|to_out|to_qkv)/kernel$'
  adapters = jax.eval_shape(lambda: lora.init(KEY, params, 64, pattern))
  assert len(adapters) == 120
  assert sum(x.size for x in jax.tree.leaves(adapters)) == 20_447_232

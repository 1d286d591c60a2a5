"""The caption encoder against torch, and what it promises about padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import torch.nn.functional as F

from jax3dgen.nn import caption
from tests.nn import test_layers

IDS = jnp.array([[3, 1, 4, 1, 0, 0], [2, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], jnp.int32)


@functools.cache
def encoder():
  """(compiled encoder, variables)."""
  net = caption.CaptionEncoder(words=5, length=6, width=8, depth=2, heads=2)
  variables = jax.jit(net.init)(jax.random.key(0), IDS)
  return jax.jit(net.apply), variables


def test_encoder_equals_a_torch_transformer():
  encode, variables = encoder()
  tensor = test_layers.tensor
  rng = np.random.default_rng(0)
  p = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32),
                   variables['params'])
  ids = IDS[:2]
  x = tensor(p['word'])[np.array(ids)] + tensor(p['position'])
  norm = lambda y, name: F.rms_norm(y, (8,), tensor(p[name]['scale']), 1e-6)
  dense = lambda y, q: y @ tensor(q['kernel']) + tensor(q['bias'])
  for i in range(2):
    y = norm(x, f'norm_attention_{i}')
    x = x + test_layers.torch_attention(p[f'attention_{i}'], y, y, 2, tensor(ids > 0))
    mlp = p[f'mlp_{i}']
    x = x + dense(F.gelu(dense(norm(x, f'norm_mlp_{i}'), mlp['in']), approximate='tanh'),
                  mlp['out'])
  x = norm(x, 'norm')
  tokens, pooled = encode({'params': p}, ids)
  for row, words in enumerate((4, 1)):
    np.testing.assert_allclose(tokens[row, :words], x[row, :words], atol=5e-6)
    np.testing.assert_allclose(pooled[row], x[row, :words].mean(0), atol=5e-6)


def test_padding_has_no_effect():
  encode, variables = encoder()
  tokens, pooled = encode(variables, IDS)
  short, short_pooled = encode(variables, IDS[:, :4])
  np.testing.assert_allclose(tokens[:, :4], short, atol=1e-6)
  np.testing.assert_allclose(pooled, short_pooled, atol=1e-6)
  assert (np.asarray(tokens)[np.asarray(IDS) == 0] == 0).all()


def test_the_empty_caption_is_the_zero_condition():
  encode, variables = encoder()
  tokens, pooled = encode(variables, IDS[2:])
  assert not tokens.any() and not pooled.any()


def test_the_order_of_words_matters():
  encode, variables = encoder()
  pooled = encode(variables, jnp.array([[1, 2, 3, 0, 0, 0], [3, 2, 1, 0, 0, 0]]))[1]
  assert float(jnp.abs(pooled[0] - pooled[1]).max()) > 1e-3

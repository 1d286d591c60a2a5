"""Attention to views and a reference: merged softmaxes, and the rows without a reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.nn import layers, view_attention
from tests import nets
from tests.nn.test_layers import normal

N, V = 2, 3


@pytest.mark.parametrize('joint', [True, False])
def test_attention_is_the_merge_of_two_softmaxes(joint):
  """g Attn(views) + (1 - g) Attn(reference), g the sigmoid of the difference of their log-sums."""
  positions, width, heads = 4, 6, 2
  states = normal(0, N * V, positions, width)
  reference = normal(2, N, 5, width)
  query, context, mask = view_attention.views_and_reference(
      states, V, reference, jnp.array([True, False]), joint)
  layer = layers.Attention(heads)
  p = nets.random_parameters(layer.init, jax.random.key(0), query, context, scale=0.7)
  output = np.asarray(layer.apply(p, query, context, mask)).reshape(N, V * positions, width)
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), p['params'])
  moved = np.asarray(states, np.float64).reshape(N, V, positions, width)
  split = lambda x, name: (x @ p[name]['kernel']).reshape(len(x), heads, -1)

  def attend(q, k, v):
    logits = np.einsum('nhd,mhd->nhm', q, k) / np.sqrt(width // heads)
    power = np.exp(logits)
    return np.einsum('nhm,mhd->nhd', power / power.sum(-1, keepdims=True), v), np.log(power.sum(-1))

  for i in range(N):
    expected = []
    for v in range(V):
      own = moved[i].reshape(-1, width) if joint else moved[i, v]
      q = split(moved[i, v], 'query')
      first, log_own = attend(q, split(own, 'key'), split(own, 'value'))
      other = np.asarray(reference[i], np.float64)
      second, log_other = attend(q, split(other, 'key'), split(other, 'value'))
      g = 1 / (1 + np.exp(log_other - log_own)) if i == 0 else np.ones_like(log_own)
      expected.append(g[..., None] * first + (1 - g[..., None]) * second)
    expected = np.concatenate(expected).reshape(V * positions, width)
    np.testing.assert_allclose(output[i], expected @ p['out']['kernel'] + p['out']['bias'],
                               rtol=1e-4, atol=1e-4)


def test_without_a_reference_the_views_attend_to_themselves():
  states = normal(0, N * V, 4, 6)
  query, context, mask = view_attention.views_and_reference(states, V)
  assert mask is None and query is context
  np.testing.assert_array_equal(query[1], states[V:].reshape(-1, 6))
  alone = view_attention.views_and_reference(states, V, normal(1, N, 5, 6), joint=False)
  np.testing.assert_array_equal(alone[1][V - 1, 4:], normal(1, N, 5, 6)[0])

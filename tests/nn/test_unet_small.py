"""The embedded prior's denoiser: a block against torch, sizes, and what it listens to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jax3dgen.core import tree
from jax3dgen.nn import caption, unet_small
from jax3dgen.recipes.nets import prior
from tests import nets
from tests.nn.test_layers import normal, tensor

SMALL = {'channels': (8, 16, 24), 'embedding': 16, 'head_width': 8}


def shaken(params):
  """Parameters without zeros, so that every path of the net contributes."""
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: x + 0.05 * rng.normal(size=x.shape).astype(np.float32), params)


@functools.cache
def small():
  """(compiled net, fresh variables, inputs) of a small net."""
  net = unet_small.UNetSmall(**SMALL)
  inputs = [normal(0, 2, 16, 16, 3), jnp.array([0.2, 0.9]), normal(1, 2, 5, 12), normal(2, 2, 12)]
  params = jax.jit(net.init)(jax.random.key(0), *inputs)['params']
  return jax.jit(net.apply), {'params': params}, inputs


def test_res_block_equals_torch():
  x, embedding = normal(0, 2, 6, 5, 4), normal(1, 2, 7)
  net = unet_small.ResBlock(channels=6)
  p = nets.drawn(net.init, jax.random.key(2), x, embedding)['params']
  first = lambda y: y.permute(0, 3, 1, 2)
  last = lambda y: y.permute(0, 2, 3, 1)
  dense = lambda y, q: y @ tensor(q['kernel']) + tensor(q['bias'])
  power = lambda y: (y**2).mean((1, 2, 3), keepdim=True)
  norm = lambda y, q: y / torch.sqrt(power(y) + 1e-6) * tensor(q['scale'])
  conv = lambda y, q: last(F.conv2d(first(y), tensor(q['kernel']).permute(3, 2, 0, 1),
                                    tensor(q['bias']), padding=1))
  h = conv(F.silu(norm(tensor(x), p['norm_in'])), p['conv_in'])
  scale, shift = dense(tensor(embedding), p['film'])[:, None, None, :].chunk(2, -1)
  h = conv(F.silu(norm(h, p['norm_out']) * (1 + scale) + shift), p['conv_out'])
  want = dense(tensor(x), p['skip']) + h
  np.testing.assert_allclose(jax.jit(net.apply)({'params': p}, x, embedding), want, atol=1e-5)


def test_shipped_sizes_fit_the_budget():
  """Denoiser and caption encoder in float16 within 12 MB, with the default config's sizes."""
  config = prior.net_config(prior.default_config())
  text = caption.CaptionEncoder(**config['text'])
  net = unet_small.UNetSmall(**config['denoiser'])
  ids = jnp.zeros((1, config['text']['length']), jnp.int32)
  text_params = jax.eval_shape(text.init, jax.random.key(0), ids)['params']
  tokens, pooled = jax.eval_shape(text.apply, {'params': text_params}, ids)
  params = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)), jnp.zeros(1),
                          tokens, pooled)['params']
  assert tree.count((params, text_params)) <= 5.9e6


@pytest.mark.parametrize('size', [(8, 8), (24, 40)])
def test_any_multiple_of_eight_works(size):
  net, variables, inputs = small()
  x = normal(0, 2, *size, 3)
  out = net({'params': shaken(variables['params'])}, x, *inputs[1:])
  assert out.shape == x.shape and jnp.isfinite(out).all()


def test_starts_at_zero():
  net, variables, inputs = small()
  assert not net(variables, *inputs).any()


def test_rows_are_independent_and_every_input_counts():
  net, variables, inputs = small()
  variables = {'params': shaken(variables['params'])}
  out = net(variables, *inputs)
  for i in range(len(inputs)):
    changed = list(inputs)
    changed[i] = inputs[i].at[0].add(0.1)
    other = net(variables, *changed)
    assert float(jnp.abs(other[0] - out[0]).max()) > 1e-4
    np.testing.assert_allclose(other[1], out[1], atol=1e-6)


def test_the_order_of_context_tokens_does_not_matter():
  """Position is the caption encoder's business."""
  net, variables, inputs = small()
  variables = {'params': shaken(variables['params'])}
  out = net(variables, *inputs)
  x, t, tokens, pooled = inputs
  np.testing.assert_allclose(net(variables, x, t, tokens[:, ::-1], pooled), out, atol=1e-5)


def test_convolutions_are_products_on_accelerators(monkeypatch):
  """The same numbers, and no grouped convolution where many nets are mapped over."""
  net, variables, inputs = small()
  variables = {'params': shaken(variables['params'])}
  plain = net(variables, *inputs)
  apply = unet_small.UNetSmall(**SMALL).apply
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  np.testing.assert_allclose(jax.jit(apply)(variables, *inputs), plain, atol=1e-5)
  several = jax.tree.map(lambda x: jnp.stack([x, x]), variables)
  mapped = jax.make_jaxpr(jax.vmap(apply, (0, None, None, None, None)))(several, *inputs)
  assert 'conv_general_dilated' not in str(mapped) and 'dot_general' in str(mapped)

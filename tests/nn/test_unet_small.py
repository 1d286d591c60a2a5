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
from tests.nn.test_layers import normal, tensor, torch_attention

SMALL = {'channels': (8, 16, 24), 'embedding': 16, 'head_width': 8}


@functools.cache
def small():
  """(net, variables without zeros, inputs) of a small net."""
  net = unet_small.UNetSmall(**SMALL)
  inputs = [normal(0, 2, 16, 16, 3), jnp.asarray(np.float32([0.2, 0.9])), normal(1, 2, 5, 12),
            normal(2, 2, 12)]
  return net, nets.random_parameters(net.init, jax.random.key(0), *inputs, scale=0.2), inputs


@functools.cache
def compiled():
  return jax.jit(small()[0].apply)


def dense(y, q):
  return y @ tensor(q['kernel']) + tensor(q['bias'])


def convolution(y, q):
  return F.conv2d(y.permute(0, 3, 1, 2), tensor(q['kernel']).permute(3, 2, 0, 1),
                  tensor(q['bias']), padding=1).permute(0, 2, 3, 1)


def norm(y, q, axes=(1, 2, 3)):
  return y / torch.sqrt((y**2).mean(axes, keepdim=True) + 1e-6) * tensor(q['scale'])


def torch_res_block(p, x, embedding):
  h = convolution(F.silu(norm(x, p['norm_in'])), p['conv_in'])
  scale, shift = dense(embedding, p['film'])[:, None, None, :].chunk(2, -1)
  h = convolution(F.silu(norm(h, p['norm_out']) * (1 + scale) + shift), p['conv_out'])
  return (dense(x, p['skip']) if 'skip' in p else x) + h


def torch_text_block(p, x, tokens, heads):
  h = x.flatten(1, 2)
  y = norm(h, p['norm_self'], -1)
  h = h + torch_attention(p['self'], y, y, heads)
  h = h + torch_attention(p['cross'], norm(h, p['norm_cross'], -1), tokens, heads)
  mlp = dense(norm(h, p['norm_mlp'], -1), p['mlp']['in'])
  return (h + dense(F.gelu(mlp, approximate='tanh'), p['mlp']['out'])).reshape(x.shape)


def folded(x):
  return torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)


def unfolded(x):
  parts = x.chunk(4, -1)
  rows = [torch.stack(parts[i:i + 2], 3).flatten(2, 3) for i in (0, 2)]
  return torch.stack(rows, 2).flatten(1, 2)


def torch_net(p, x, t, tokens, pooled, channels, head_width):
  """UNetSmall, written out."""
  angles = 1000 * t[:, None] * 10_000 ** (-torch.arange(32) / 32)
  wave = F.silu(dense(torch.cat([angles.cos(), angles.sin()], -1), p['time_in']))
  embedding = F.silu(dense(wave, p['time_out']) + dense(pooled, p['pooled']))

  def block(h, level, name):
    h = torch_res_block(p[f'{name}_res'], h, embedding)
    return torch_text_block(p[f'{name}_text'], h, tokens,
                            channels[level] // head_width) if level else h
  h, skips = block(convolution(folded(x), p['conv_in']), 0, 'encode_0'), []
  for level in range(1, len(channels)):
    skips.append(h)
    h = block(dense(folded(h), p[f'down_{level}']), level, f'encode_{level}')
  skips.append(h)
  h = block(h, level, 'middle')
  for level in reversed(range(len(channels))):
    h = block(torch.cat([h, skips[level]], -1), level, f'decode_{level}')
    if level:
      h = unfolded(dense(h, p[f'up_{level}']))
  h = F.silu(norm(block(h, 0, 'detail'), p['norm_out']))
  return unfolded(convolution(h, p['conv_out']))


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


@pytest.mark.parametrize('size', [(8, 8), (16, 24)])
def test_any_multiple_of_eight_equals_torch(size):
  _, variables, inputs = small()
  x = normal(0, 2, *size, 3)
  out = compiled()(variables, x, *inputs[1:])
  expected = torch_net(variables['params'], *map(tensor, [x, *inputs[1:]]), SMALL['channels'],
                       SMALL['head_width'])
  assert expected.std() > 0.1
  np.testing.assert_allclose(out, expected, atol=1e-4)


def test_starts_at_zero():
  """Whatever the other layers hold."""
  net, variables, inputs = small()
  fresh = jax.jit(lambda key: net.init(key, *inputs)['params']['conv_out'])(jax.random.key(0))
  assert not compiled()({'params': variables['params'] | {'conv_out': fresh}}, *inputs).any()


def test_rows_are_independent_and_every_input_counts():
  _, variables, inputs = small()
  net = compiled()
  out = net(variables, *inputs)
  for i in range(len(inputs)):
    changed = list(inputs)
    changed[i] = inputs[i].at[0].add(0.1)
    other = net(variables, *changed)
    assert float(jnp.abs(other[0] - out[0]).max()) > 1e-4
    np.testing.assert_allclose(other[1], out[1], atol=1e-6)


def test_the_order_of_context_tokens_does_not_matter():
  """Position is the caption encoder's business."""
  _, variables, inputs = small()
  net = compiled()
  out = net(variables, *inputs)
  x, t, tokens, pooled = inputs
  np.testing.assert_allclose(net(variables, x, t, tokens[:, ::-1], pooled), out, atol=1e-5)


def test_convolutions_are_products_on_accelerators(monkeypatch):
  """The same numbers, and no grouped convolution where many nets are mapped over."""
  _, variables, inputs = small()
  plain = compiled()(variables, *inputs)
  apply = unet_small.UNetSmall(**SMALL).apply
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  np.testing.assert_allclose(jax.jit(apply)(variables, *inputs), plain, atol=1e-5)
  several = jax.tree.map(lambda x: np.stack([x, x]), variables)
  mapped = jax.make_jaxpr(jax.vmap(apply, (0, None, None, None, None)))(several, *inputs)
  assert 'conv_general_dilated' not in str(mapped) and 'dot_general' in str(mapped)

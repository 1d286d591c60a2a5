"""The vision transformer against PyTorch's layers and interpolation, with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from jax3dgen.nn import vit

PATCH, GRID, WIDTH, DEPTH, HEADS = 4, 6, 24, 3, 3


def random_params(net, image):
  shapes = jax.eval_shape(net.init, jax.random.key(0), image)['params']
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: np.float32(0.3 * rng.normal(size=x.shape)), shapes)


def reference(params, image, registers):
  """The published forward pass, written with torch.nn.functional; [B, 1 + R + N, C]."""
  tensor = lambda x: torch.from_numpy(np.ascontiguousarray(x))
  p = jax.tree.map(tensor, params)
  dense = lambda x, q: F.linear(x, q['kernel'].T, q['bias'])
  norm = lambda x, q: F.layer_norm(x, (WIDTH,), q['scale'], q['bias'], 1e-6)
  x = F.conv2d(tensor(image.transpose(0, 3, 1, 2)), p['patch_embed']['kernel'].permute(3, 2, 0, 1),
               p['patch_embed']['bias'], stride=PATCH)
  size = x.shape[2:]
  learned = p['pos_embed'][:, 1:].reshape(1, GRID, GRID, WIDTH).permute(0, 3, 1, 2)
  if tuple(size) != (GRID, GRID):
    learned = (F.interpolate(learned, size=size, mode='bicubic', antialias=True) if registers else
               F.interpolate(learned, scale_factor=tuple((n + 0.1) / GRID for n in size),
                             mode='bicubic'))
  x = (x + learned).flatten(2).transpose(1, 2)
  spread = lambda token: token.expand(len(x), -1, -1)
  first = [spread(p['cls_token'] + p['pos_embed'][:, :1])]
  if registers:
    first.append(spread(p['register_tokens']))
  x = torch.cat([*first, x], 1)
  for i in range(DEPTH):
    q = p[f'block_{i}']
    parts = dense(norm(x, q['norm1']), q['qkv']).reshape(len(x), -1, 3, HEADS, WIDTH // HEADS)
    h = F.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4)).transpose(1, 2).flatten(2)
    x = x + q['ls1'] * dense(h, q['proj'])
    x = x + q['ls2'] * dense(F.gelu(dense(norm(x, q['norm2']), q['fc1'])), q['fc2'])
  return norm(x, p['norm']).numpy()


@pytest.mark.parametrize('registers', [0, 4])
@pytest.mark.parametrize('size', [(24, 24), (40, 28), (16, 16)])
def test_equals_pytorch(registers, size):
  net = vit.ViT(WIDTH, DEPTH, HEADS, patch=PATCH, grid=GRID, registers=registers)
  image = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
  params = random_params(net, image)
  token, patches = jax.jit(net.apply)({'params': params}, image)
  expected = reference(params, image, registers)
  np.testing.assert_allclose(token, expected[:, 0], atol=2e-4)
  np.testing.assert_allclose(patches.reshape(2, -1, WIDTH), expected[:, 1 + registers:], atol=2e-4)
  assert patches.shape == (2, size[0] // PATCH, size[1] // PATCH, WIDTH)


def test_tokens_before_the_norm():
  net = vit.ViT(WIDTH, DEPTH, HEADS, patch=PATCH, grid=GRID, registers=4)
  image = np.random.default_rng(1).normal(size=(1, 16, 16, 3)).astype(np.float32)
  params = random_params(net, image)
  tokens = jax.jit(net.clone(tokens=True).apply)({'params': params}, image)
  params['norm'] = {'scale': np.ones(WIDTH, np.float32), 'bias': np.zeros(WIDTH, np.float32)}
  normed = (tokens - tokens.mean(-1, keepdims=True)) / (tokens.std(-1, keepdims=True))
  assert tokens.shape == (1, 1 + 4 + 16, WIDTH)
  np.testing.assert_allclose(normed, reference(params, image, 4), atol=2e-4)
  assert not np.allclose(tokens, normed, atol=0.1)


@pytest.mark.parametrize('size', [(9, 9), (3, 5), (6, 11)])
def test_positions_are_interpolated_as_by_pytorch(size):
  learned = np.random.default_rng(1).normal(size=(6, 6, 5)).astype(np.float32)
  channels = torch.from_numpy(learned.transpose(2, 0, 1)[None])
  plain = torch.nn.functional.interpolate(
      channels, scale_factor=tuple((n + 0.1) / 6 for n in size), mode='bicubic')
  smooth = torch.nn.functional.interpolate(channels, size=size, mode='bicubic', antialias=True)
  for antialias, expected in ((False, plain), (True, smooth)):
    table = vit.positions(jnp.asarray(learned), size, antialias, 0.0 if antialias else 0.1)
    np.testing.assert_allclose(table, expected[0].numpy().transpose(1, 2, 0), atol=1e-5)


def test_published_sizes():
  shapes = jax.eval_shape(vit.ViT(384, 12, 6).init, jax.random.key(0), jnp.zeros((1, 28, 28, 3)))
  # The published ViT-S/14 has 22,056,576, with a mask token that is only read in its training.
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 22_056_576 - 384

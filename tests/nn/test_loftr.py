"""LoFTR against a second transcription of the published network, in plain torch.

No package on PyPI that the suite may use holds the network, so the reference here was written from
the paper and the published names, with torch.nn.functional alone; it finds as many matches as
there are, in a Python loop, where ours has a fixed number and a mask.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy
import torch
from torch.nn import functional as F

from jax3dgen.core import tree as trees
from jax3dgen.formats import convert, rules_loftr
from jax3dgen.nn import loftr
from jax3dgen.perception import matching
from tests import published
from tests.fakes import random_weights

WIDTHS, HEADS, THRESHOLD, BORDER = (16, 24, 32), 4, 0.001, 1
SMALL = {'widths': WIDTHS, 'heads': HEADS, 'coarse_pairs': 1, 'threshold': THRESHOLD,
         'border': BORDER, 'most': 16}


def backbone(p, x, widths):
  conv = lambda x, name, width, kernel, stride=1: F.conv2d(
      x, p.get(f'backbone.{name}.weight', width, x.shape[1], kernel, kernel), stride=stride,
      padding=kernel // 2)
  norm = lambda x, name: p.batch_norm(x, f'backbone.{name}', 1e-5)

  def block(x, name, width, stride):
    y = F.relu(norm(conv(x, f'{name}.conv1', width, 3, stride), f'{name}.bn1'))
    y = norm(conv(y, f'{name}.conv2', width, 3), f'{name}.bn2')
    if stride != 1:
      x = norm(conv(x, f'{name}.downsample.0', width, 1, stride), f'{name}.downsample.1')
    return F.relu(x + y)

  x = F.relu(norm(conv(x, 'conv1', widths[0], 7, 2), 'bn1'))
  x1 = block(block(x, 'layer1.0', widths[0], 1), 'layer1.1', widths[0], 1)
  x2 = block(block(x1, 'layer2.0', widths[1], 2), 'layer2.1', widths[1], 1)
  x3 = block(block(x2, 'layer3.0', widths[2], 2), 'layer3.1', widths[2], 1)
  larger = lambda x: F.interpolate(x, scale_factor=2.0, mode='bilinear', align_corners=True)

  def merge(x, name, width, out):
    x = F.leaky_relu(norm(conv(x, f'{name}.0', width, 3), f'{name}.1'))
    return conv(x, f'{name}.3', out, 3)
  coarse = conv(x3, 'layer3_outconv', widths[2], 1)
  y = merge(conv(x2, 'layer2_outconv', widths[2], 1) + larger(coarse), 'layer2_outconv2',
            widths[2], widths[1])
  fine = merge(conv(x1, 'layer1_outconv', widths[1], 1) + larger(y), 'layer1_outconv2', widths[1],
               widths[0])
  return coarse, fine


def transformer(p, name, pairs, a, b):
  def look(x, source, name):
    width = x.shape[-1]
    def linear(x, part, out):
      # Small queries and keys: where elu(x) + 1 is all but 0, single precision has nothing left.
      spread = 0.3 * out**-0.5 if part[0] in 'qk' else None
      return F.linear(x, p.get(f'{name}.{part}.weight', out, x.shape[-1], spread=spread))
    norm = lambda x, part: F.layer_norm(
        x, (width,), p.get(f'{name}.{part}.weight', width, near=1.0, spread=0.1),
        p.get(f'{name}.{part}.bias', width, spread=0.1))
    heads = lambda x: x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
    q, k, v = (heads(linear(y, f'{part}_proj', width))
               for part, y in (('q', x), ('k', source), ('v', source)))
    weight = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(-1, -2)  # of all pairs, one by one
    mixed = weight @ v / (weight.sum(-1, keepdim=True) + 1e-6)
    message = norm(linear(mixed.transpose(1, 2).flatten(2), 'merge', width), 'norm1')
    message = F.relu(linear(torch.cat([x, message], -1), 'mlp.0', 2 * width))
    return x + norm(linear(message, 'mlp.2', width), 'norm2')

  for i in range(pairs):
    self_part, cross = f'{name}.layers.{2 * i}', f'{name}.layers.{2 * i + 1}'
    a, b = look(a, a, self_part), look(b, b, self_part)
    a = look(a, b, cross)
    b = look(b, a, cross)
  return a, b


def places(x):
  """The positions of the outdoor weights: x [B, C, H, W] plus its sines and cosines."""
  width, height, length = x.shape[1:]
  rounded = -math.log(10000.0) / width // 2  # as it was: the rounded quotient
  frequency = torch.exp(torch.arange(0, width // 2, 2).float() * rounded)
  out = torch.zeros_like(x)
  for row in range(height):
    for column in range(length):
      out[:, 0::4, row, column] = torch.sin((column + 1) * frequency)
      out[:, 1::4, row, column] = torch.cos((column + 1) * frequency)
      out[:, 2::4, row, column] = torch.sin((row + 1) * frequency)
      out[:, 3::4, row, column] = torch.cos((row + 1) * frequency)
  return x + out


def reference(p, a, b, widths=WIDTHS, pairs=1, threshold=THRESHOLD, border=BORDER):
  """(first, second, confidence) of the matches of one pair of images [1, 1, H, W]."""
  (coarse_a, fine_a), (coarse_b, fine_b) = backbone(p, a, widths), backbone(p, b, widths)
  (ha, wa), (hb, wb) = coarse_a.shape[2:], coarse_b.shape[2:]
  flat = lambda x: places(x).flatten(2).transpose(1, 2)
  one, two = transformer(p, 'loftr_coarse', pairs, flat(coarse_a), flat(coarse_b))
  alike = one[0] @ two[0].T / widths[2] / 0.1
  sure = alike.softmax(0) * alike.softmax(1)
  edge = lambda cell, h, w: not (border <= cell // w < h - border
                                 and border <= cell % w < w - border)
  matches = [(i, j) for i in range(ha * wa) for j in range(hb * wb)
             if sure[i, j] > threshold and sure[i, j] == sure[i].max() == sure[:, j].max()
             and not edge(i, ha, wa) and not edge(j, hb, wb)]
  linear = lambda x, name, size: F.linear(
      x, p.get(f'fine_preprocess.{name}.weight', widths[0], size),
      p.get(f'fine_preprocess.{name}.bias', widths[0]))

  def windows(fine, features, cells, width):
    cut = F.unfold(fine, 5, stride=4, padding=2)[0].unflatten(0, (-1, 25)).permute(2, 1, 0)[cells]
    coarse = linear(features[0, cells], 'down_proj', widths[2])
    return linear(torch.cat([cut, coarse[:, None].expand_as(cut)], -1), 'merge_feat', 2 * widths[0])
  i, j = (torch.tensor(cells) for cells in zip(*matches, strict=True))
  x, y = transformer(p, 'loftr_fine', 1, windows(fine_a, one, i, wa), windows(fine_b, two, j, wb))
  heat = (torch.einsum('mc,mwc->mw', x[:, 12], y) / widths[0] ** 0.5).softmax(-1).view(-1, 5, 5)
  steps = torch.linspace(-1, 1, 5)
  moved = torch.stack([(heat.sum(1) * steps).sum(-1), (heat.sum(2) * steps).sum(-1)], -1)
  corner = lambda cell, w: 8.0 * torch.stack([cell % w, cell // w], -1)
  return corner(i, wa), corner(j, wb) + 2 * 2 * moved, sure[i, j]


def pair():
  """Two cuttings of one noise picture, 8 pixels apart, of different sizes."""
  noise = np.random.default_rng(0).random((1, 80, 96, 1), np.float32)
  return noise[:, :64, :80], noise[:, 8:80, 8:96]


@pytest.fixture(scope='module')
def both():
  a, b = pair()
  p = random_weights.Tensors()
  # Quiet features, or one cell with a long vector would be everyone's best.
  p.get('backbone.layer3_outconv.weight', WIDTHS[2], WIDTHS[2], 1, 1, spread=0.025)
  x = published.to_torch(a, requires_grad=True)
  expected = reference(p, x, published.to_torch(b))
  (expected[1].sum() + expected[2].sum()).backward()
  target = jax.eval_shape(loftr.Loftr(**SMALL).init, jax.random.key(0), a, b)['params']
  params = convert.to_tree({f'matcher.{name}': x for name, x in p.arrays().items()},
                           rules_loftr.RULES, target)
  return params, (a, b), [x.detach().numpy() for x in expected], published.from_torch(x.grad)


def test_equals_a_second_transcription(both):
  params, images, (first, second, sure), _ = both
  matches = jax.jit(loftr.Loftr(**SMALL).apply)({'params': params}, *images)
  count = int(matches.mask.sum())
  assert count == len(sure) > 3
  order = np.argsort(-sure)
  np.testing.assert_array_equal(matches.mask[0], np.arange(matches.mask.shape[1]) < count)
  np.testing.assert_allclose(matches.first[0, :count], first[order])
  assert published.apart(matches.second[0, :count], second[order]) < 2e-4
  assert published.apart(matches.confidence[0, :count], sure[order]) < 2e-4


@pytest.mark.slow
def test_gradients_are_those_of_the_second_transcription(both):
  params, (a, b), _, slope = both

  def total(a):
    matches = loftr.Loftr(**SMALL).apply({'params': params}, a, b)
    return jnp.where(matches.mask, matches.confidence + matches.second.sum(-1), 0.0).sum()
  assert published.apart(jax.jit(jax.grad(total))(a), slope) < 1e-3


@pytest.mark.slow
def test_half_precision_is_near(both):
  """The features: which of them choose one another is a matter of their last digits."""
  params, (image, _), _, _ = both

  @jax.jit
  def features(params, image):
    def of(dtype):
      kinds = (dtype, jnp.float32)
      coarse, fine = loftr.Backbone(WIDTHS, *kinds).apply({'params': params['backbone']}, image)
      tokens = coarse.reshape(1, -1, WIDTHS[2])
      looked = loftr.Transformer(1, HEADS, *kinds).apply(
          {'params': params['loftr_coarse']}, tokens, tokens[:, ::2])
      return fine, *looked
    return of(jnp.bfloat16), of(jnp.float32)
  for half, whole in zip(*features(params, image), strict=True):
    assert half.dtype == jnp.bfloat16
    assert published.apart(half, whole) < 2e-2


def test_the_most_confident_matches_are_returned_without_edges():
  """Cells that are each other's copies, but for the threshold, the edges and the number."""
  rng = np.random.default_rng(0)
  cells = np.linalg.qr(rng.normal(size=(36, 36)))[0].astype(np.float32)[None] * 6
  strength = np.linspace(0.5, 1.0, 36, dtype=np.float32)[None, :, None]
  shuffled = rng.permutation(36)
  inner = [i for i in range(36) if 2 <= i // 6 < 4 and 2 <= i % 6 < 4]
  both_inner = [i for i in inner if list(shuffled).index(i) in inner]
  choose = lambda most: loftr.Loftr(most=most).apply(
      {}, cells * strength, cells[:, shuffled], (6, 6), (6, 6), method='select')
  confidence, i, j, mask = choose(1024)
  count = len(both_inner)
  assert count and mask.sum() == count and sorted(i[0, :count].tolist()) == both_inner
  np.testing.assert_array_equal(shuffled[j[0, :count]], i[0, :count])
  assert (np.diff(confidence[0, :count]) <= 0).all()
  one = choose(1)
  assert one[0].shape == (1, 1) and one[1][0, 0] == i[0, 0]


def test_published_names_and_size(tmp_path):
  """All of the full network's tensors are what the reference asks for at the published widths."""
  image, p = torch.zeros(1, 1, 32, 32), random_weights.Tensors()
  reference(p, image, image, (128, 196, 256), 4, -1.0, 0)
  size = jnp.zeros((1, 32, 32, 1))
  target = jax.eval_shape(loftr.Loftr().init, jax.random.key(0), size, size)['params']
  paths = convert.names(rules_loftr.RULES, p)
  leaves = trees.named(target)
  assert set(paths.values()) == set(leaves)
  for name, path in paths.items():
    assert leaves[path].size == p[name].numel()
  assert sum(x.size for x in leaves.values()) == 11_568_160  # 11.56 M and the running statistics
  safetensors_numpy.save_file(p.arrays(), tmp_path / 'loftr.safetensors')
  apply, params = matching.load(tmp_path, most=10)
  pair = [jax.ShapeDtypeStruct((2, *shape, 3), jnp.float32) for shape in ((64, 32), (32, 48))]
  outputs = jax.eval_shape(apply, params, *pair)
  assert [x.shape for x in outputs] == [(2, 10, 2), (2, 10, 2), (2, 10), (2, 10)]

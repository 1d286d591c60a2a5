"""The FID Inception against a second transcription of the published architecture, in plain torch.

No package on PyPI that the suite may use holds the network, so the reference here was written from
the description of its blocks, with torch.nn.functional and published names alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy
import torch
from torch.nn import functional as F

from jax3dgen.nn import inception
from jax3dgen.perception import inception as perception
from tests import published
from tests.fakes import random_weights

SIDE = 107  # pixels in place of 299: the smaller the cheaper, and all blocks see several


def reference(p, x):
  """(features, logits) of images [B, 3, H, W] in [0, 1] by the weights p."""
  def conv(x, name, out, kernel=(1, 1), stride=1, padding=(0, 0)):
    weight = p.get(f'{name}.conv.weight', out, x.shape[1], *kernel)
    x = F.conv2d(x, weight, stride=stride, padding=padding)
    return F.relu(p.batch_norm(x, f'{name}.bn', 1e-3))

  square, row, column = ((3, 3), 1, (1, 1)), ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
  halving = ((3, 3), 2, (0, 0))
  mean = lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

  def a(x, name, pooled):
    one = conv(x, f'{name}.branch1x1', 64)
    five = conv(conv(x, f'{name}.branch5x5_1', 48), f'{name}.branch5x5_2', 64, (5, 5), 1, (2, 2))
    three = conv(x, f'{name}.branch3x3dbl_1', 64)
    three = conv(conv(three, f'{name}.branch3x3dbl_2', 96, *square),
                 f'{name}.branch3x3dbl_3', 96, *square)
    return torch.cat([one, five, three, conv(mean(x), f'{name}.branch_pool', pooled)], 1)

  def b(x, name):
    three = conv(conv(x, f'{name}.branch3x3dbl_1', 64), f'{name}.branch3x3dbl_2', 96, *square)
    return torch.cat([conv(x, f'{name}.branch3x3', 384, *halving),
                      conv(three, f'{name}.branch3x3dbl_3', 96, *halving),
                      F.max_pool2d(x, 3, 2)], 1)

  def c(x, name, inner):
    short = conv(x, f'{name}.branch7x7_1', inner)
    short = conv(conv(short, f'{name}.branch7x7_2', inner, *row), f'{name}.branch7x7_3', 192,
                 *column)
    long = conv(x, f'{name}.branch7x7dbl_1', inner)
    for i, out, shape in ((2, inner, column), (3, inner, row), (4, inner, column), (5, 192, row)):
      long = conv(long, f'{name}.branch7x7dbl_{i}', out, *shape)
    return torch.cat([conv(x, f'{name}.branch1x1', 192), short, long,
                      conv(mean(x), f'{name}.branch_pool', 192)], 1)

  def d(x, name):
    three = conv(conv(x, f'{name}.branch3x3_1', 192), f'{name}.branch3x3_2', 320, *halving)
    seven = conv(conv(x, f'{name}.branch7x7x3_1', 192), f'{name}.branch7x7x3_2', 192, *row)
    seven = conv(conv(seven, f'{name}.branch7x7x3_3', 192, *column), f'{name}.branch7x7x3_4', 192,
                 *halving)
    return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)

  def e(x, name, pool):
    across, down = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))
    three = conv(x, f'{name}.branch3x3_1', 384)
    double = conv(conv(x, f'{name}.branch3x3dbl_1', 448), f'{name}.branch3x3dbl_2', 384, *square)
    return torch.cat([
        conv(x, f'{name}.branch1x1', 320),
        conv(three, f'{name}.branch3x3_2a', 384, *across),
        conv(three, f'{name}.branch3x3_2b', 384, *down),
        conv(double, f'{name}.branch3x3dbl_3a', 384, *across),
        conv(double, f'{name}.branch3x3dbl_3b', 384, *down),
        conv(pool(x), f'{name}.branch_pool', 192)], 1)

  x = 2 * F.interpolate(x, size=(SIDE, SIDE), mode='bilinear', align_corners=False) - 1
  x = conv(x, 'Conv2d_1a_3x3', 32, *halving)
  x = conv(conv(x, 'Conv2d_2a_3x3', 32, (3, 3)), 'Conv2d_2b_3x3', 64, *square)
  x = conv(F.max_pool2d(x, 3, 2), 'Conv2d_3b_1x1', 80)
  x = F.max_pool2d(conv(x, 'Conv2d_4a_3x3', 192, (3, 3)), 3, 2)
  x = a(a(a(x, 'Mixed_5b', 32), 'Mixed_5c', 64), 'Mixed_5d', 64)
  x = b(x, 'Mixed_6a')
  for name, inner in (('6b', 128), ('6c', 160), ('6d', 160), ('6e', 192)):
    x = c(x, f'Mixed_{name}', inner)
  x = e(d(x, 'Mixed_7a'), 'Mixed_7b', mean)
  x = e(x, 'Mixed_7c', lambda x: F.max_pool2d(x, 3, 1, 1))
  features = x.mean((2, 3))
  return features, F.linear(features, p.get('fc.weight', 1008, 2048), p.get('fc.bias', 1008))


@pytest.fixture(scope='module')
def both(tmp_path_factory):
  """(apply, parameters, images, (features, logits) of the reference, and its input)."""
  images = np.random.default_rng(1).random((1, 160, 70, 3), np.float32)
  x, p = published.to_torch(images, requires_grad=True), random_weights.Tensors()
  outputs = reference(p, x)
  path = tmp_path_factory.mktemp('inception') / 'pt_inception.safetensors'
  safetensors_numpy.save_file(p.arrays(), path)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(inception, 'SIZE', SIDE)
    apply, params = perception.load(path)
    yield apply, params, images, outputs, x


def test_equals_a_second_transcription(both):
  apply, params, images, expected, _ = both
  for output, target in zip(jax.jit(apply)(params, images), expected, strict=True):
    assert published.apart(output, target.detach()) < 2e-4


@pytest.mark.slow
def test_gradients_are_those_of_the_second_transcription(both):
  """But for pixels whose way leads through a maximum that rounding decides."""
  apply, params, images, expected, x = both
  expected[0].sum().backward()
  expected = published.from_torch(x.grad)
  slope = jax.jit(jax.grad(lambda x: apply(params, x).features.sum()))(images)
  error = np.abs(slope - expected) / np.abs(expected).max()
  assert np.quantile(error, 0.95) < 1e-3


@pytest.mark.slow
def test_half_precision_is_near(both):
  _, params, images, expected, _ = both
  resized = jax.image.resize(images, (1, SIDE, SIDE, 3), 'linear', antialias=False)
  outputs = jax.jit(inception.Inception(jnp.bfloat16).apply)({'params': params}, 2 * resized - 1)
  assert published.apart(outputs[0], expected[0].detach()) < 2e-2


def test_published_size(both):
  # torchvision's without the auxiliary head, the running statistics, and eight classes more.
  assert sum(x.size for x in jax.tree.leaves(both[1])) == 23_834_568 + 34_432 + 8 * 2049

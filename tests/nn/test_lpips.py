"""LPIPS against a second transcription of the published distance, in plain torch.

The package lpips needs torchvision, which the suite does without; the reference here was written
from the paper and the published layers, with torch.nn.functional and published names alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy
import torch
from torch.nn import functional as F

from jax3dgen.core.errors import ConfigError
from jax3dgen.formats import convert, rules_lpips
from jax3dgen.nn import lpips
from jax3dgen.perception import lpips as perception
from tests import published
from tests.fakes import random_weights

# Number of the layer in torchvision's features: width of a convolution, 'M' a pool, 't' a tap
# after the ReLU that follows a convolution.
LAYERS = {
    'alex': [(0, 64), 't', 'M', (3, 192), 't', 'M', (6, 384), 't', (8, 256), 't', (10, 256), 't'],
    'vgg': [(0, 64), (2, 64), 't', 'M', (5, 128), (7, 128), 't', 'M', (10, 256), (12, 256),
            (14, 256), 't', 'M', (17, 512), (19, 512), (21, 512), 't', 'M', (24, 512), (26, 512),
            (28, 512), 't']}
KERNELS = {0: (11, 4, 2), 3: (5, 1, 2)}  # of AlexNet, where not (3, 1, 1): size, stride, padding


def reference(p, net, a, b):
  """The distance [B] of images [B, 3, H, W] in [0, 1]."""
  shift = torch.tensor([-.030, -.088, -.188]).view(1, 3, 1, 1)
  scale = torch.tensor([.458, .448, .450]).view(1, 3, 1, 1)

  def taps(x):
    x, features = (2 * x - 1 - shift) / scale, []
    for layer in LAYERS[net]:
      if layer == 't':
        features.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
      elif layer == 'M':
        x = F.max_pool2d(x, *((3, 2) if net == 'alex' else (2, 2)))
      else:
        number, width = layer
        kernel, stride, padding = KERNELS.get(number, (3, 1, 1)) if net == 'alex' else (3, 1, 1)
        weight = p.get(f'features.{number}.weight', width, x.shape[1], kernel, kernel)
        bias = p.get(f'features.{number}.bias', width, near=0.2, spread=0.1)
        x = F.relu(F.conv2d(x, weight, bias, stride, padding))
    return features

  total = 0
  for i, (x, y) in enumerate(zip(taps(a), taps(b), strict=True)):
    weight = p.get(f'lin{i}.model.1.weight', 1, x.shape[1], 1, 1, near=1.0).abs()
    p[f'lin{i}.model.1.weight'] = weight
    total = total + F.conv2d((x - y) ** 2, weight).mean((1, 2, 3))
  return total


@pytest.mark.parametrize('net', ['alex', 'vgg'])
def test_equals_a_second_transcription(net, tmp_path):
  a, b = np.random.default_rng(0).random((2, 2, 36, 40, 3), np.float32)
  x, p = published.to_torch(a, requires_grad=True), random_weights.Tensors()
  expected = reference(p, net, x, published.to_torch(b))
  expected.sum().backward()
  safetensors_numpy.save_file(p.arrays(), tmp_path / 'lpips.safetensors')
  apply, params = perception.load(tmp_path, net)
  assert published.apart(jax.jit(apply)(params, a, b), expected.detach()) < 2e-4
  if net == 'alex':  # the other has the same layers
    slope = jax.jit(jax.grad(lambda a: apply(params, a, b).sum()))(a)
    assert published.apart(slope, published.from_torch(x.grad)) < 1e-3
    half = jax.jit(lpips.Lpips(net, jnp.bfloat16).apply)({'params': params}, a, b)
    assert published.apart(half, expected.detach()) < 2e-2


def test_features_of_zero_have_a_finite_gradient():
  assert np.isfinite(jax.grad(lambda x: lpips.unit(x).sum())(jnp.zeros((1, 2, 2, 3)))).all()


@pytest.mark.parametrize('net, last', [('alex', 10), ('vgg', 28)])
def test_both_published_layouts_have_the_same_names(net, last):
  image = jnp.zeros((1, 64, 64, 3))
  target = jax.eval_shape(lpips.Lpips(net).init, jax.random.key(0), image, image)['params']
  count = len(jax.tree.leaves(target))
  paths = convert.names(rules_lpips.RULES, [
      f'net.slice5.{last}.weight', 'scaling_layer.shift', 'lins.0.model.1.weight',
      f'features.{last}.bias', 'classifier.6.weight', 'lin4.model.1.weight'])
  assert set(paths.values()) == {f'features_{last}/kernel', f'features_{last}/bias', 'lin4/kernel'}
  assert count == {'alex': 2 * 5 + 5, 'vgg': 2 * 13 + 5}[net]


def test_unknown_nets_are_refused(tmp_path):
  with pytest.raises(ConfigError, match="alex or vgg, not 'squeeze'"):
    perception.load(tmp_path, 'squeeze')

"""Perceptual distances: of shipped features against a loop, of LPIPS against larger pictures."""

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy
from torch.nn import functional as F

from jax3dgen.core.errors import WeightError
from jax3dgen.formats import features
from jax3dgen.metrics import perceptual
from tests import published
from tests.fakes import random_weights
from tests.nn import test_lpips


def pairs(size=32):
  return np.random.default_rng(0).random((2, 3, size, size, 3), np.float32)


def test_feature_distance_is_that_of_a_loop_over_patches():
  a, b = pairs()
  name, distance = perceptual.load()
  ours = np.asarray(distance(a, b))
  apply, params = features.load()
  for x, y, value in zip(a, b, ours, strict=True):
    u, v = (np.asarray(apply(params, picture[None]).patches)[0] for picture in (x, y))
    each = [2 - 2 * u[i, j] @ v[i, j] / np.linalg.norm(u[i, j]) / np.linalg.norm(v[i, j])
            for i in range(u.shape[0]) for j in range(u.shape[1])]
    assert value == pytest.approx(np.mean(each), rel=1e-4) and value > 0.01
  assert name == 'feature_distance'
  np.testing.assert_allclose(distance(a, a), 0, atol=1e-6)


def test_lpips_by_weights_gets_pictures_of_at_least_64_pixels(tmp_path):
  a, b = pairs()
  large = lambda x: F.interpolate(published.to_torch(x), (64, 64), mode='bilinear')
  weights = random_weights.Tensors()
  expected = test_lpips.reference(weights, 'alex', large(a), large(b))
  safetensors_numpy.save_file(weights.arrays(), tmp_path / 'lpips.safetensors')
  name, distance = perceptual.load(str(tmp_path))
  assert name == 'lpips'
  assert published.apart(distance(a, b), expected.detach()) < 2e-4


def test_missing_weights_are_one_sentence(tmp_path):
  with pytest.raises(WeightError):
    perceptual.load(str(tmp_path / 'nowhere'))

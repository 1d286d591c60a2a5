"""Entropies against scipy and their bounds, and the zero-shot class against a loop."""

import numpy as np
import pytest
from scipy import special, stats

from jax3dgen.metrics import entropy


def test_entropy_is_scipy_s_and_bounded():
  p = np.random.default_rng(0).dirichlet(np.ones(4), 7)
  np.testing.assert_allclose(entropy.entropy(p), stats.entropy(p, axis=1), rtol=1e-12)
  assert entropy.entropy([1.0, 0.0, 0.0]) == 0
  assert entropy.entropy(np.full(3, 1 / 3)) == pytest.approx(np.log(3))  # at most ln n


def test_entropy_is_zero_for_one_view_class_and_maximal_for_all_classes():
  """pEnt is of the mean: sure of every view, and still ln 4 over an even turn (Eq. 33)."""
  assert entropy.of_mean(np.eye(4)[np.zeros(10, int)]) == 0
  assert entropy.of_mean(np.eye(4)[np.arange(12) % 4]) == pytest.approx(np.log(4))
  # Ten even views of a correct object have 3 fronts, 2 + 2 sides and 3 backs.
  assert entropy.of_mean(np.eye(3)[[0] * 3 + [1] * 4 + [2] * 3]) == pytest.approx(1.0889, abs=1e-4)


def test_zero_shot_is_a_softmax_of_cosines():
  rng = np.random.default_rng(0)
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  image, text = unit(rng.normal(size=(6, 8))), unit(rng.normal(size=(3, 8)))
  p = entropy.zero_shot(image, text, 20.0)
  for i in range(6):
    np.testing.assert_allclose(p[i], special.softmax([20 * np.dot(image[i], t) for t in text]))
  assert entropy.cent(image, text, 20.0) == pytest.approx(stats.entropy(p.mean(0)))


def test_text_distance_is_one_minus_cosine():
  text = np.array([1.0, 0.0])
  image = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
  assert entropy.text_distance(image, text) == pytest.approx(np.mean([0, 1, 2, 0.4]))

"""Variation and quality at their bounds (at most ln n), cosines against a loop."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jax3dgen.metrics import diversity


def test_uniform_probabilities_have_ln_1000():
  p = np.full((2, 3, 1000), 1e-3)
  for figure in (diversity.variation, diversity.variation_by_view, diversity.quality):
    assert figure(p) == pytest.approx(np.log(1000))


def test_certain_and_different_objects_have_full_variation_and_entropy_zero():
  p = np.eye(4)[np.arange(4)][:, None].repeat(5, 1)  # object p is class p in all views
  assert diversity.variation(p) == pytest.approx(np.log(4))
  assert diversity.variation_by_view(p) == pytest.approx(np.log(4))
  assert diversity.quality(p) == 0


def test_variation_by_view_takes_views_one_by_one():
  p = np.eye(5)[np.arange(5)][None].repeat(3, 0)  # all objects alike, every view another class
  assert diversity.variation(p) == pytest.approx(np.log(5))
  assert diversity.variation_by_view(p) == 0


def test_figures_are_those_of_loops():
  rng = np.random.default_rng(0)
  p = rng.dirichlet(np.ones(6), (3, 4))
  assert diversity.variation(p) == pytest.approx(stats.entropy(sum(
      p[i, j] for i in range(3) for j in range(4)) / 12))
  assert diversity.quality(p) == pytest.approx(np.mean(
      [stats.entropy(p[i, j]) for i in range(3) for j in range(4)]))
  assert diversity.quality(p) <= diversity.variation_by_view(p) <= diversity.variation(p)
  x = rng.normal(size=(3, 4, 7))
  cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)
  assert diversity.cosine(x) == pytest.approx(np.mean(
      [np.mean([cosine(x[i, v], x[j, v]) for i, j in itertools.combinations(range(3), 2)])
       for v in range(4)]))


def test_identical_objects_have_the_cosine_one():
  x = np.random.default_rng(0).normal(size=(1, 6, 9)).repeat(4, 0) * np.arange(1, 5)[:, None, None]
  assert diversity.cosine(x) == pytest.approx(1.0)
  assert diversity.cosine(np.zeros((2, 3, 4))) == 0
  with pytest.raises(ValueError, match='two objects'):
    diversity.cosine(x[:1])

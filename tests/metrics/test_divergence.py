"""Divergences against scipy, closed forms, and the inequalities between them."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from jax3dgen.metrics import divergence

GRID = np.linspace(-14.0, 14.0, 28_001)
CELL = GRID[1] - GRID[0]


def mixtures(count, seed=0):
  """`count` random mixtures of three normal densities on GRID."""
  rng = np.random.default_rng(seed)
  for _ in range(count):
    weights = rng.dirichlet(np.ones(3))
    parts = [stats.norm.pdf(GRID, m, s) for m, s in zip(rng.normal(0, 2, 3),
                                                       rng.uniform(0.3, 1.5, 3), strict=True)]
    yield weights @ parts


def normal(mean, std):
  return stats.norm.pdf(GRID, mean, std)


def test_histograms_agree_with_scipy():
  p, q = np.random.default_rng(0).dirichlet(np.ones(7), 2)
  assert divergence.jsd(p, q) == pytest.approx(distance.jensenshannon(p, q)**2)
  assert divergence.kl(p, q) == pytest.approx(stats.entropy(p, q))
  assert divergence.total_variation(p, q) == pytest.approx(0.5 * distance.cityblock(p, q))
  assert divergence.kl(p, np.eye(7)[0]) == np.inf


def test_kl_of_two_normals_in_closed_form():
  expected = np.log(0.7 / 1.2) + (1.2**2 + 0.9**2) / (2 * 0.7**2) - 0.5
  assert divergence.kl(normal(0.9, 1.2), normal(0, 0.7), CELL) == pytest.approx(expected, rel=1e-6)
  shifted = divergence.total_variation(normal(0, 1), normal(1.3, 1), CELL)
  assert shifted == pytest.approx(2 * stats.norm.cdf(0.65) - 1, rel=1e-6)


def test_bounds_between_the_divergences():
  # JSD <= half the smaller KL, <= a quarter of their sum, <= log(2) TV.
  densities = list(mixtures(6))
  for p, q in zip(densities, densities[1:], strict=False):
    js, tv = divergence.jsd(p, q, CELL), divergence.total_variation(p, q, CELL)
    one, other = divergence.kl(p, q, CELL), divergence.kl(q, p, CELL)
    assert 0 < js < np.log(2) and js <= np.log(2) * tv
    assert js <= 0.5 * min(one, other) and js <= 0.25 * (one + other)
    assert tv <= np.sqrt(0.5 * min(one, other))  # Pinsker


def test_the_root_of_jsd_is_a_metric():
  # The triangle inequality of sqrt(JSD).
  a, b, c = (list(mixtures(30, seed=1))[i::3] for i in range(3))
  root = lambda p, q: np.sqrt(divergence.jsd(p, q, CELL))
  for p, q, r in zip(a, b, c, strict=True):
    assert root(p, r) <= root(p, q) + root(q, r) + 1e-12


def test_disjoint_and_nearly_equal_densities():
  # JSD = log 2 for disjoint supports; JSD / KL tends to 1 / 4 for nearly equal densities.
  apart = np.where(GRID < 0, normal(-3, 0.1), 0), np.where(GRID > 0, normal(3, 0.1), 0)
  assert divergence.jsd(*apart, CELL) == pytest.approx(np.log(2), abs=1e-9)
  assert divergence.total_variation(*apart, CELL) == pytest.approx(1, abs=1e-9)
  assert divergence.jsd(np.array([1.0, 5e-324]), np.array([1.0, 0.0])) == pytest.approx(0, abs=1e-9)
  p, q = normal(0, 1), normal(0.02, 1)
  ratio = divergence.jsd(p, q, CELL) / divergence.kl(p, q, CELL)
  assert ratio == pytest.approx(0.25, abs=1e-4)


def test_the_best_discriminator_and_its_value():
  # V(D*) = 2 JSD - log 4, and no other discriminator has more.
  p, q = normal(0, 1), normal(1.3, 0.7)
  best = stats.norm.logpdf(GRID) - stats.norm.logpdf(GRID, 1.3, 0.7)
  most = divergence.discriminator_value(p, q, best, CELL)
  assert most == pytest.approx(2 * divergence.jsd(p, q, CELL) - np.log(4), abs=1e-9)
  for other in (1.1 * best, best + 0.1, np.zeros_like(best)):
    assert divergence.discriminator_value(p, q, other, CELL) < most
  np.testing.assert_allclose(divergence.discriminator(p, q), 1 / (1 + np.exp(-best)), atol=1e-12)
  assert (divergence.discriminator(np.zeros(2), np.zeros(2)) == 0.5).all()


def test_gradients_of_jsd_by_its_discriminator():
  """E_q[w (s_q - s_p)] for p = N(0, 1), q = N(1.3, 0.7^2): w = D* / 2 is the gradient of JSD by
  q's mean, w = 1 - D* the non-saturating direction, w = 1 the gradient of KL(q, p). By quadrature
  and, for the two gradients, by finite differences."""
  p, q = normal(0, 1), normal(1.3, 0.7)
  best = divergence.discriminator(p, q)
  scores = -(GRID - 1.3) / 0.49 + GRID  # s_q - s_p
  mean = lambda weight: np.sum(q * weight * scores) * CELL
  assert mean(0.5 * best) == pytest.approx(0.259091, abs=1e-6)
  assert mean(1 - best) == pytest.approx(0.781818, abs=1e-6)
  assert mean(np.ones_like(q)) == pytest.approx(1.3, abs=1e-6)
  h = 1e-4
  slope = lambda f: (f(normal(1.3 + h, 0.7)) - f(normal(1.3 - h, 0.7))) / (2 * h)
  assert slope(lambda q: divergence.jsd(p, q, CELL)) == pytest.approx(0.259091, abs=1e-6)
  assert slope(lambda q: divergence.kl(q, p, CELL)) == pytest.approx(1.3, abs=1e-6)


def test_samples_agree_with_quadrature():
  p, q = normal(0, 1), normal(1.3, 0.7)
  rng = np.random.default_rng(0)
  ratio = lambda x: stats.norm.logpdf(x) - stats.norm.logpdf(x, 1.3, 0.7)
  estimates = divergence.of_samples(ratio(rng.normal(0, 1, 200_000)),
                                    ratio(rng.normal(1.3, 0.7, 200_000)))
  expected = (divergence.kl(p, q, CELL), divergence.jsd(p, q, CELL),
              divergence.total_variation(p, q, CELL))
  np.testing.assert_allclose(estimates, expected, rtol=0.02)

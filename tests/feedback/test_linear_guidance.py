"""The closed forms of guidance in a subspace against autodiff, limits, moments and samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.feedback import linear_guidance as theory

ALPHAS = (0.9, 0.5, 0.1)
D, M = 5, 3


def data(seed, size=D, rank=M):
  rng = np.random.default_rng(seed)
  basis = np.linalg.qr(rng.normal(size=(size, rank)))[0]
  root = rng.normal(size=(rank, rank))
  return theory.Data(basis, rng.normal(size=rank), root @ root.T + 0.2 * np.eye(rank))


def scaled(s, mean=(0.0, 0.0)):
  """Example 1: the plane of the first two of three axes, Sigma = s I."""
  return theory.Data(np.eye(3)[:, :2], np.array(mean), s * np.eye(2))


def log_density(d, alpha):
  """log q_t by the density of the whole space, N(alpha A mu, alpha^2 A Sigma A^T + h I)."""
  law = alpha * d.basis @ d.mean, alpha**2 * d.basis @ d.covariance @ d.basis.T + (
      1 - alpha**2) * np.eye(len(d.basis))
  return lambda x: jax.scipy.stats.multivariate_normal.logpdf(x, *law)


def tweedie(d, alpha):
  """E[X_0 | X_t] = (x + h grad log q_t(x)) / alpha."""
  grad = jax.grad(log_density(d, alpha))
  return lambda x: (x + (1 - alpha**2) * grad(x)) / alpha


@pytest.mark.parametrize('alpha', ALPHAS)
def test_closed_forms_against_autodiff(x64, alpha):
  rng = np.random.default_rng(7)
  d = data(int(10 * alpha))
  x, clean, a, approximate = rng.normal(size=(4, D))
  expected = tweedie(d, alpha)
  close = lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9)
  close(theory.score(d, x, alpha), jax.grad(log_density(d, alpha))(x))
  close(theory.score(d, x, alpha), (alpha * expected(x) - x) / (1 - alpha**2))
  close(theory.clean_mean(d, x, alpha), expected(x))
  jacobian = jax.jacobian(expected)(x)
  close(theory.jacobian(d, alpha), jacobian)
  square = lambda view: jax.grad(lambda x: (1.5 - view @ expected(x)) ** 2)(x)
  close(theory.simple(d, x, alpha, a, 1.5), -square(a))
  toward = -jax.grad(lambda z: (1.5 - a @ z) ** 2)(clean)
  linear = jax.grad(lambda x: approximate @ expected(x))(x)
  of = lambda **kw: theory.contrastive(d, clean, x, alpha, a, approximate, 1.5, **kw)
  close(of(), toward - 2 * linear)
  close(of(residual=True), toward + square(approximate))
  many = theory.simple(d, np.stack([x, clean]), alpha, a, 1.5)
  close(many[0], theory.simple(d, x, alpha, a, 1.5))


@pytest.mark.parametrize('alpha', ALPHAS)
def test_guidance_stays_in_the_subspace(alpha):
  d = data(1)
  outside = np.eye(D) - d.basis @ d.basis.T
  x, a = np.random.default_rng(0).normal(size=(2, D))
  np.testing.assert_allclose(outside @ theory.simple(d, x, alpha, a, 1.0), 0, atol=1e-12)
  np.testing.assert_allclose(theory.simple(d, x, alpha, outside @ a, 1.0), 0, atol=1e-12)
  values = np.linalg.eigvalsh(theory.jacobian(d, alpha))
  assert (np.abs(values[:D - M]) < 1e-12).all() and (values[D - M:] > 1e-3).all()
  np.testing.assert_allclose(theory.jacobian(d, alpha), theory.jacobian(d, alpha).T, atol=1e-12)


def test_scalar_covariances_and_limits():
  c = lambda s, alpha: theory.jacobian(scaled(s), alpha)[0, 0]
  np.testing.assert_allclose([c(1, a) for a in ALPHAS], ALPHAS)
  np.testing.assert_allclose([c(2, a) for a in (0.999, 0.7, 0.3, 0.01)],
                             [0.999999, 0.939597, 0.550459, 0.019998], atol=1e-6)
  d = data(3)
  np.testing.assert_allclose(theory.jacobian(d, 1 - 1e-9), d.basis @ d.basis.T, atol=1e-6)
  np.testing.assert_allclose(theory.jacobian(d, 1e-5) / 1e-5,
                             d.basis @ d.covariance @ d.basis.T, atol=1e-6)


def test_simple_guidance_has_the_sign_of_what_is_missing():
  d = data(2)
  x, a = np.random.default_rng(3).normal(size=(2, D))
  at = theory.clean_mean(d, x, 0.6) @ a
  for target in (at + 1, at - 1):
    assert np.sign(a @ theory.simple(d, x, 0.6, a, target)) == np.sign(target - at)


A1, APPROXIMATE = np.eye(3)[0], np.array([0.8, np.sqrt(5) / 5, 0.4])
CLEAN = np.array([0.2, 0.3, 0.0])


def test_example_one():
  """J removes the third axis, so that the third component of each guidance is 0."""
  d = scaled(1.0)
  assert APPROXIMATE @ APPROXIMATE == pytest.approx(1)
  np.testing.assert_allclose(theory.jacobian(d, 0.6) @ APPROXIMATE, [0.48, 0.2683282, 0],
                             atol=1e-7)
  got = theory.contrastive(d, CLEAN, np.ones(3), 0.6, A1, APPROXIMATE, 1.0)
  np.testing.assert_allclose(got, [0.64, -0.5366563, 0], atol=1e-7)
  for s, alpha in ((1.0, 0.9), (4.0, 0.8), (4.0, 0.2)):  # component 1 > 0 iff y - a^T X_0 > .8 c
    c = theory.jacobian(scaled(s), alpha)[0, 0]
    got = theory.contrastive(scaled(s), CLEAN, np.ones(3), alpha, A1, APPROXIMATE, 1.0)
    assert (got[0] > 0) == (0.8 > 0.8 * c) and got[1] < 0


def test_theorem_one_and_its_residual():
  """Theorem 1 does not depend on X_t; both forms agree where the residual is 1."""
  d = data(4)
  x, other, clean, a = np.random.default_rng(5).normal(size=(4, D))
  approximate = np.random.default_rng(6).normal(size=D)
  of = lambda x, target, **kw: theory.contrastive(d, clean, x, 0.5, a, approximate, target, **kw)
  np.testing.assert_array_equal(of(x, 1.0), of(other, 1.0))
  target = 1 + theory.clean_mean(d, x, 0.5) @ approximate
  np.testing.assert_allclose(of(x, target, residual=True), of(x, target), rtol=1e-12)
  assert np.abs(of(x, target + 1, residual=True) - of(x, target + 1)).max() > 0.1


def assert_laws(got, expected, atol=2e-6):
  for x, y in zip(got, expected):
    np.testing.assert_allclose(x, y, rtol=1e-6, atol=atol)


def test_end_laws_without_guidance_and_of_theorem_one():
  d = data(8, 4, 2)
  clean, a, approximate = np.random.default_rng(9).normal(size=(3, 4))
  assert_laws(theory.end_law(d, lambda x, alpha: np.zeros_like(x)),
              (d.basis @ d.mean, d.basis @ d.covariance @ d.basis.T))
  guidance = lambda x, alpha: 0.7 * theory.contrastive(d, clean, x, alpha, a, approximate, 1.3)
  values = np.linalg.eigvalsh(d.covariance)
  assert values[0] < 1 < values[1]  # both branches of the integral
  closed = theory.contrastive_end(d, clean, a, approximate, 1.3, 0.7)
  assert_laws(theory.end_law(d, guidance), closed)
  one = theory.contrastive_end(scaled(1.0), CLEAN, A1, APPROXIMATE, 1.0, 1.0)
  np.testing.assert_allclose(one.mean, [3.2 - 1.6, -2 / np.sqrt(5), 0])


@pytest.mark.parametrize('s', [0.5, 2.0])
def test_end_laws_of_simple_guidance(s):
  """The residual form repels from a': its covariance is that of simple guidance of scale -1."""
  d = scaled(s, (0.4, -0.2))
  guidance = lambda x, alpha: 0.6 * theory.simple(d, x, alpha, APPROXIMATE, 1.2)
  assert_laws(theory.end_law(d, guidance), theory.simple_end(d, APPROXIMATE, 1.2, 0.6))
  residual = lambda x, alpha: 0.6 * theory.contrastive(d, CLEAN, x, alpha, A1, APPROXIMATE, 1.2,
                                                       residual=True)
  got = theory.end_law(d, residual).covariance
  np.testing.assert_allclose(got, theory.simple_end(d, APPROXIMATE, 1.2, -0.6).covariance,
                             atol=2e-6)
  along = np.array([0.8, np.sqrt(5) / 5, 0]) / np.linalg.norm([0.8, np.sqrt(5) / 5])
  assert along @ got @ along > s


@pytest.mark.parametrize('form', ['none', 'simple', 'contrastive'])
def test_samples_have_the_end_law(form):
  d = theory.Data(np.eye(3)[:, :2], np.array([0.3, -0.5]), np.array([[1.0, 0.4], [0.4, 0.6]]))
  guidance = {
      'none': lambda x, alpha: 0 * x,
      'simple': lambda x, alpha: theory.simple(d, x, alpha, A1, 1.0),
      'contrastive': lambda x, alpha: 0.3 * theory.contrastive(d, CLEAN, x, alpha, A1, APPROXIMATE,
                                                               1.0, residual=True)}[form]
  x = theory.sample(np.random.default_rng(0), d, guidance, 10_000, 300)
  law = theory.end_law(d, guidance)
  np.testing.assert_allclose(x.mean(0), law.mean, atol=0.03)
  np.testing.assert_allclose(np.cov(x.T), law.covariance, atol=0.05)


def test_an_affine_function_is_its_matrix_and_vector():
  matrix, vector = np.random.default_rng(1).normal(size=(3, 3)), np.arange(3.0)
  got = theory.affine(lambda x: x @ matrix.T + vector, 3)
  np.testing.assert_allclose(got[0], matrix)
  np.testing.assert_allclose(got[1], vector)
  assert jnp.ndim(got[1]) == 1

"""The consistency metric against numpy least squares, and what each head can and cannot see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.perception import consistency

RNG = np.random.default_rng(0)
C = 4
Y, X = RNG.normal(size=(2, 60, C)).astype(np.float32)
OTHER = np.roll(X, 1, 0)


def fitted(head, true=X, false=OTHER, ridge=1e-3):
  of = lambda x: consistency.features(head, Y, x)
  return consistency.fit(of(true), of(false), ridge)


def value(head, params, y, x):
  return consistency.linear(params, consistency.features(head, y, x))


def test_sizes_of_the_heads():
  sizes = {head: consistency.features(head, Y, X).shape[-1] for head in consistency.HEADS}
  assert sizes == {'concat': 8, 'product': 12, 'difference': 12, 'bilinear': 24, 'cosine': 1}
  y, x = Y.astype(float), X.astype(float)
  cosine = (y * x).sum(-1) / np.linalg.norm(y, axis=-1) / np.linalg.norm(x, axis=-1)
  np.testing.assert_allclose(consistency.features('cosine', Y, X)[:, 0], cosine, atol=1e-6)
  outer = np.stack([np.outer(a, b).ravel() for a, b in zip(y, x)])
  np.testing.assert_allclose(consistency.features('bilinear', Y, X)[:, :16], outer, rtol=1e-5)
  with pytest.raises(ConfigError, match="'dot' .* none of concat"):
    consistency.features('dot', Y, X)


def test_a_linear_head_cannot_compare():
  """f(Y1, X1) - f(Y1, X2) = f(Y2, X1) - f(Y2, X2) for concat; every other head differs."""
  for head in consistency.HEADS:
    size = consistency.features(head, Y, X).shape[-1]
    params = consistency.Linear(jnp.asarray(RNG.normal(size=size), jnp.float32), jnp.float32(0.3))
    f = lambda y, x, h=head, p=params: value(h, p, y, x)
    gap = np.abs((f(Y, X) - f(Y, OTHER)) - (f(Y[::-1], X) - f(Y[::-1], OTHER)))
    assert gap.max() < 1e-5 if head == 'concat' else np.median(gap) > 0.05, head


@pytest.mark.parametrize('head', ['concat', 'bilinear'])
@pytest.mark.parametrize('count', [60, 25])
def test_the_fit_is_least_squares(head, count):
  """Against numpy on the balanced pairs; without ridge the loss cannot be made smaller."""
  of = lambda x: np.asarray(consistency.features(head, Y, x), np.float64)
  positive, negative = of(X), of(OTHER)[:count]
  got = consistency.fit(positive, negative, 0.0)
  design = np.pad(np.concatenate([positive, negative]), ((0, 0), (0, 1)), constant_values=1.0)
  root = np.repeat([60**-0.5, count**-0.5], [60, count])
  target = np.repeat([1.0, 0.0], [60, count])
  best = np.linalg.lstsq(root[:, None] * design, root * target, rcond=None)[0]
  np.testing.assert_allclose(got.weight, best[:-1], atol=1e-4)
  np.testing.assert_allclose(got.bias, best[-1], atol=1e-4)
  of_loss = lambda params: consistency.loss(consistency.linear(params, positive),
                                            consistency.linear(params, negative))
  slopes = jax.grad(of_loss)(got)
  assert max(float(np.abs(g).max()) for g in slopes) < 1e-4


def test_more_features_than_pairs():
  """The solution by the matrix of pairs is that of the normal equations."""
  wide = RNG.normal(size=(12, 30))
  got = consistency.fit(wide[:6], wide[6:], 0.1)
  z = (wide - wide.mean(0)) / wide.std(0)
  weight = np.linalg.solve(z.T @ z / 12 + 0.1 * np.eye(30), z.T @ np.repeat([0.5, -0.5], 6) / 12)
  np.testing.assert_allclose(got.weight, weight / wide.std(0), rtol=1e-4, atol=1e-6)


def test_equal_pairs_have_the_value_one_half():
  params = fitted('product', X, X)
  f = value('product', params, Y, X)
  np.testing.assert_allclose(f, 0.5, atol=1e-6)
  assert consistency.loss(f, f) == pytest.approx(0.5)


def test_a_constant_feature_is_left_out():
  x = np.pad(X, ((0, 0), (0, 1)), constant_values=3.0)
  got = consistency.fit(x, np.pad(OTHER, ((0, 0), (0, 1)), constant_values=3.0))
  assert got.weight[-1] == 0 and np.isfinite(got.weight).all()


def test_heads_that_compare_recognise_the_view_of_another_object():
  """A view is the reference's code plus noise; negatives are views of other objects."""
  rng = np.random.default_rng(1)
  code, views = rng.normal(size=(400, C)), lambda code: code + 0.3 * rng.normal(size=code.shape)
  y, x, other = views(code), views(code), views(np.roll(code, 1, 0))
  shares = {}
  for head in consistency.HEADS:
    of = lambda x, rows, h=head: consistency.features(h, y[rows], x[rows])
    train, test = slice(0, 200), slice(200, 400)
    params = consistency.fit(of(x, train), of(other, train))
    shares[head] = float(np.mean(consistency.linear(params, of(x, test))
                                 > consistency.linear(params, of(other, test))))
  assert abs(shares['concat'] - 0.5) < 0.1
  assert min(shares[head] for head in shares if head != 'concat') > 0.85


def test_the_score_leaves_out_the_reference():
  values = jnp.asarray(RNG.normal(size=(3, 5)), jnp.float32).at[0, 2].set(jnp.nan)
  slot = np.array([2, 0, 4])
  expected = [sum(float(values[n, v]) for v in range(5) if v != slot[n]) for n in range(3)]
  np.testing.assert_allclose(consistency.score(values, slot), expected, rtol=1e-5)
  order = np.array([3, 1, 0, 4, 2])
  places = np.array([np.flatnonzero(order == s)[0] for s in slot])
  np.testing.assert_allclose(consistency.score(values[:, order], places), expected, rtol=1e-5)


def test_each_view_is_compared_with_its_own_reference():
  reference, views = RNG.normal(size=(3, C)), RNG.normal(size=(3, 5, C))
  got = consistency.view_scores(lambda y, x: (y * x).sum(-1), jnp.asarray(reference),
                                jnp.asarray(views))
  np.testing.assert_allclose(got, np.einsum('nc,nvc->nv', reference, views), rtol=1e-5)


def encode(params, images):
  return jnp.tanh(images.reshape(len(images), -1) @ params)


def test_the_tuned_metric_learns_which_view_belongs():
  """Encoder and head by gradient descent: held-out views of another object get lower values."""
  rng = np.random.default_rng(2)
  code = rng.normal(size=(600, 2, 2, 3))
  views = lambda code: jnp.asarray(code + 0.2 * rng.normal(size=code.shape), jnp.float32)
  y, x, other = views(code), views(code), views(np.roll(code, 1, 0))
  slots = np.arange(600) % 5, (np.arange(600) + 1) % 5
  params = {'encoder': jnp.asarray(0.3 * rng.normal(size=(12, 8)), jnp.float32),
            'head': consistency.pair_init(jax.random.key(0), 8, 5, 16)}
  rows = lambda part: [a[part] for a in (y, x, other, *slots)]
  value = jax.jit(lambda p, *rows: consistency.tuned_loss(encode, p, *rows, 5))
  assert value(params, *rows(slice(0, 400))) == pytest.approx(0.5)
  slope = jax.jit(jax.grad(lambda p: consistency.tuned_loss(encode, p, *rows(slice(0, 400)), 5)))
  for _ in range(150):
    params = jax.tree.map(lambda a, g: a - 0.3 * g, params, slope(params))
  gradient = slope(params)
  assert np.abs(gradient['encoder']).max() > 0 and value(params, *rows(slice(400, 600))) < 0.4


def test_pair_features_against_numpy():
  got = consistency.pair_features(Y[:2], X[:2], np.array([0, 3]), np.array([1, 4]), 5)
  hot = np.eye(5)
  expected = np.concatenate([Y[:2], X[:2], Y[:2] * X[:2], np.abs(Y[:2] - X[:2]), hot[[0, 3]],
                             hot[[1, 4]]], -1)
  np.testing.assert_allclose(got, expected, rtol=1e-6)

"""Heads of the metric of consistency: pairs by hand, least squares, additivity, whole scores."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import weights
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.formats import features
from jax3dgen.nn import vit
from jax3dgen.perception import consistency
from tests import nets

SIZES = {'parts': 2, 'width': 3, 'hidden': 5}
ENCODER = features.small(vit.ViT(8, 1, 2, 16, 2))


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_features_of_a_pair_are_those_of_their_definitions():
  y, x = draw(2, 3), draw(2, 3, seed=1)
  for a, b, i in ((y[0], x[0], 0), (y[1], x[1], 1)):
    first = {'concat': [], 'product': a * b, 'difference': abs(a - b),
             'bilinear': [a[j] * b[k] for j in range(3) for k in range(3)]}
    for head, extra in first.items():
      np.testing.assert_allclose(consistency.joined(head, y, x)[i], [*extra, *a, *b], rtol=1e-6)
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(consistency.joined('cosine', y, x)[i], [cosine], rtol=1e-5)
  with pytest.raises(ConfigError, match="'pair' is no linear head"):
    consistency.joined('pair', y, x)


@pytest.mark.parametrize('count', [40, 4])  # more pairs than features, and fewer
def test_fit_is_the_ridge_regression_to_1_and_0(count):
  positive, negative = draw(count, 6) + 1, 2 * draw(2 * count, 6, seed=1)
  fit = consistency.fit(positive, negative, ridge=0.1)
  rows = np.concatenate([positive, negative]).astype(np.float64)
  share = np.repeat([0.5 / count, 0.25 / count], [count, 2 * count])
  mean = share @ rows
  spread = np.sqrt(share @ (rows - mean) ** 2)
  target = np.repeat([1.0, 0.0], [count, 2 * count])
  loss = lambda weight, bias: (share * (rows @ weight + bias - target) ** 2).sum() + 0.1 * (
      (weight * spread) ** 2).sum()
  weight, bias = np.asarray(fit.weight, np.float64), float(fit.bias)
  for i in range(6):  # the loss is convex, so that a stationary point is its minimum
    step = np.eye(6)[i] * 1e-4
    assert abs(loss(weight + step, bias) - loss(weight - step, bias)) / 2e-4 < 1e-5
  assert abs(loss(weight, bias + 1e-4) - loss(weight, bias - 1e-4)) / 2e-4 < 1e-5
  np.testing.assert_allclose(fit(rows), rows @ weight + bias, rtol=1e-4, atol=1e-5)


def test_equal_sets_score_a_half_and_a_constant_feature_nothing():
  pairs = np.concatenate([draw(30, 4), np.full((30, 1), 3.0, np.float32)], 1)
  fit = consistency.fit(pairs, pairs[::-1])
  value = np.asarray(fit(pairs))
  np.testing.assert_allclose(value, 0.5, atol=1e-5)
  assert np.mean((value - 1) ** 2 + value**2) == pytest.approx(0.5, abs=1e-4)
  assert fit.weight[4] == 0


@pytest.mark.parametrize('head', consistency.HEADS)
def test_only_concat_is_additive(head):
  """f(Y1, X1) - f(Y1, X2) = f(Y2, X1) - f(Y2, X2): the reference does not change the order."""
  y, x = draw(2, 5), draw(2, 5, seed=1)
  pairs = lambda i, j: np.asarray(consistency.joined(head, y[i], x[j]), np.float64)
  width = pairs(0, 0).shape[-1]
  f = consistency.Linear(np.asarray(draw(width, seed=2), np.float64), 0.3)
  gap = (f(pairs(0, 0)) - f(pairs(0, 1))) - (f(pairs(1, 0)) - f(pairs(1, 1)))
  assert (abs(gap) < 1e-6) == (head == 'concat')


def test_an_object_is_scored_by_the_sum_over_the_other_views():
  values, slots = draw(4, 5), np.array([0, 3, 1, 2])
  values[range(4), slots] = np.nan  # that of the reference has no meaning
  ours = np.asarray(consistency.total(jnp.asarray(values), jnp.asarray(slots)))
  for n, slot in enumerate(slots):
    assert ours[n] == pytest.approx(sum(values[n, v] for v in range(5) if v != slot), rel=1e-5)
  order = np.array([2, 0, 4, 1, 3])
  moved = consistency.total(jnp.asarray(values[:, order]), jnp.asarray(np.argsort(order)[slots]))
  np.testing.assert_allclose(moved, ours, rtol=1e-5)


@pytest.fixture(scope='module')
def model():
  """(Model, params) of the pair head on a small encoder."""
  model = consistency.make('pair', ENCODER, **SIZES)
  encoder = nets.random_parameters(lambda: ENCODER.net.init(
      jax.random.key(0), jnp.zeros((1, 32, 32, 3)))['params'], scale=0.5)
  return model, nets.random_parameters(model.init, jax.random.key(0), encoder, scale=0.5)


def test_scores_are_those_of_single_pairs(model):
  model, params = model
  pictures = np.asarray(jax.random.uniform(jax.random.key(1), (2, 6, 32, 32, 3)))
  images, slots = pictures.reshape(-1, 32, 32, 3), jnp.array([3, 1])
  scores = jax.jit(lambda *x: consistency.scores(model, *x))
  ours = np.asarray(scores(params, pictures[:, 0], pictures[:, 1:], slots))
  token, patches = (np.asarray(x, np.float64) for x in jax.jit(ENCODER)(
      params['encoder'], images))
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)

  def embed(i, slot):
    flat = patches[i].reshape(-1, 8)
    keys = flat @ p['pool']['key']['kernel']
    weight = np.exp(p['pool']['query'][slot] @ keys.T / np.sqrt(8))
    weight /= weight.sum(-1, keepdims=True)
    value = flat @ p['pool']['value']['kernel'] + p['pool']['value']['bias']
    return np.concatenate([token[i], (weight @ value).ravel()])
  for n in range(2):
    y = embed(6 * n, slots[n])
    for v in range(5):
      x, hot = embed(6 * n + 1 + v, v), np.eye(5)
      row = np.concatenate([y, x, y * x, abs(y - x), hot[slots[n]], hot[v]])
      hidden = jax.nn.gelu(row @ p['head']['hidden']['kernel'] + p['head']['hidden']['bias'])
      want = hidden @ p['head']['out']['kernel'] + p['head']['out']['bias']
      assert ours[n, v] == pytest.approx(float(want[0]), rel=1e-3)
  assert len(np.unique(ours.round(4))) == 10


def encode(params, images):
  """Features that compile in no time: mean colours."""
  return features.Features(images.mean((1, 2)), images[:, :1, :1])


def embed(params, each, slots):
  return each.cls * (1 + slots[:, None])  # the slots must be those of the places, not of the views


def pair(params, y, x, slots_y, slots_x):
  return (y * x) @ params['w'] + 0.1 * slots_y - 0.2 * slots_x


COLORS = consistency.Model(None, encode, embed, pair)


def test_losses_are_those_of_all_pairs():
  rng = np.random.default_rng(0)
  true, bad = rng.uniform(size=(2, 4, 5, 6, 6, 3)).astype(np.float32)
  changed, slot = np.array([False, False, True, True]), np.array([0, 2, 0, 1])
  params = {'w': jnp.array([1.0, -2.0, 0.5])}
  affected = np.ones((4, 5), bool)
  affected[2, 3] = False
  wrong = (np.arange(5) + rng.integers(1, 5, (4, 5))) % 5
  terms = jax.jit(lambda *x: consistency.losses(COLORS, params, *x))(
      true, bad, changed, affected, slot, wrong)
  e = {'t': true.mean((2, 3)), 'b': bad.mean((2, 3))}
  f = lambda y, r, x, v: float((np.array([1, -2, 0.5]) * y * (1 + r) * x * (1 + v)).sum()
                               + 0.1 * r - 0.2 * v)
  rows = {name: [] for name in terms}
  for n in range(4):
    t, b, other = e['t'][n], e['b'][n], e['t'][n - 1]
    for r in range(4):
      for v in set(range(5)) - {r}:
        rows['true'].append((f(t[r], r, t[v], v) - 1)**2)
        rows['object'].append(f(t[r], r, other[v], v)**2)
        rows['view'].append(f(t[r], r, t[wrong[n, v]], v)**2)
        if not changed[n]:
          rows['generated'] += [f(t[r], r, b[v], v)**2] if v != slot[n] else []
          continue
        rows['true'].append((f(b[r], r, b[v], v) - 1)**2)
        if (n, v) != (2, 3):
          rows['corrupted'] += [f(t[r], r, b[v], v)**2, f(b[r], r, t[v], v)**2]
  for name, values in rows.items():
    assert float(terms[name]) == pytest.approx(np.mean(values), rel=1e-4), name


def test_new_heads_score_a_half():
  encoder = jax.eval_shape(ENCODER.net.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))['params']
  for head in ('pair', 'product'):
    params = jax.eval_shape(consistency.make(head, ENCODER, **SIZES).init, jax.random.key(0),
                            encoder)
    assert params['encoder'] == encoder
  model = consistency.make('product', ENCODER)
  head = model.init(jax.random.key(0), encoder)['head']
  assert model.pair({'head': head}, draw(3, 8), draw(3, 8), None, None).tolist() == [0.5] * 3


def save(folder, model, params, net):
  folder.mkdir()
  weights.save(folder / 'weights.safetensors', params)
  (folder / 'config.json').write_text(json.dumps({'net': net}))
  weights.seal(folder, ('weights.safetensors', 'config.json'))


def test_load_reads_what_describes_it(model, tmp_path):
  net = SIZES | {'head': 'pair', 'encoder': features.describe(ENCODER)}
  save(tmp_path / 'right', *model, net)
  apply, params = consistency.load(tmp_path / 'right')
  images = jax.random.uniform(jax.random.key(3), (2, 6, 32, 32, 3))
  arguments = params, images[:, 0], images[:, 1:], jnp.array([0, 2])
  want = jax.jit(lambda *x: consistency.scores(model[0], *x))(*arguments)
  np.testing.assert_allclose(apply(*arguments), want, rtol=1e-6)
  np.testing.assert_allclose(consistency.score(apply, *arguments),
                             consistency.total(want, arguments[3]), rtol=1e-6)
  for name, change in (('head', {'head': 'triple'}), ('sizes', {'width': 4}),
                       ('encoder', {'encoder': {}})):
    save(tmp_path / name, *model, net | change)
    with pytest.raises(WeightError):
      consistency.load(tmp_path / name)


def test_an_encoder_is_described_completely():
  for apply in (ENCODER, dataclasses.replace(ENCODER, net=vit.ViT(8, 1, 2, gated=True, registers=4),
                                             middle=(0.1, 0.2, 0.3), size=0)):
    assert features.of(json.loads(json.dumps(features.describe(apply)))) == apply

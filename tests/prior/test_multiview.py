"""The multi-view prior: its two passes, guidance, samples, bad references, folders of weights."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import tree, weights
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.nn import unet_multiview
from jax3dgen.prior import base, embedded, multiview
from tests import nets

WORDS = ['', 'front', 'side', 'back', 'from', 'above', 'view']
PLAIN = {'size': 8, 'denoiser': {'channels': [8, 16], 'embedding': 16, 'head_width': 8,
                                 'expansion': 2},
         'text': {'words': len(WORDS), 'length': 4, 'width': 8, 'depth': 1, 'heads': 2}}
CONFIG = PLAIN | {'joint': [1], 'share': 0.4, 'frozen': '^text/|/cross/', 'prior': ''}
N, V = 2, multiview.VIEWS
CLOSE = {'rtol': 1e-3, 'atol': 1e-4}

prior = multiview.make(CONFIG, WORDS)
read, write, predict = map(jax.jit, (prior.read, prior.write, prior.predict))


def normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


@pytest.fixture(scope='module')
def params():
  return nets.random_parameters(prior.init, jax.random.key(0), scale=0.3)


@pytest.fixture(scope='module')
def cond(params):
  images = jax.random.uniform(jax.random.key(1), (N, 8, 8, 3))
  return prior.condition(params, prior.encode(params, images), normal(2, N, 8, 8, 3))


@pytest.fixture(scope='module')
def state():
  return normal(3, N * V, 8, 8, 3), jnp.repeat(jnp.array([0.3, 0.8]), V)


def test_every_leaf_of_the_condition_has_the_rows_of_the_views(params, cond):
  assert {x.shape[0] for x in jax.tree.leaves(cond)} == {N * V}
  for x in (cond.picture, cond.noise):
    assert (x.reshape(N, V, 8, 8, 3) == x[::V][:, None]).all()
  ids = np.array([[1, 6, 0, 0], [2, 6, 0, 0], [3, 6, 0, 0], [2, 6, 0, 0], [4, 5, 0, 0], [0] * 4])
  captions = embedded.make(PLAIN).embed(params, ids)
  for rows in (cond.view.tokens[:V], cond.view.tokens[V:]):
    np.testing.assert_allclose(rows, captions.tokens[:V], atol=1e-6)
  np.testing.assert_allclose(cond.reference.extra[3], captions.extra[V], atol=1e-6)
  again = prior.embed(params, cond.picture[::V] / 2 + 0.5)
  np.testing.assert_allclose(again.picture, cond.picture, atol=1e-6)
  assert again.noise.shape == cond.noise.shape and again.keep.all()


def test_a_prediction_is_the_passes_over_the_noised_references_and_the_views(params, cond, state):
  x_t, t = state
  net = unet_multiview.MultiviewUNet(**PLAIN['denoiser'] | {'channels': (8, 16)}, joint=(1,))
  variables = {'params': params['denoiser']}
  level = np.array([0.3, 0.8]) * 0.4
  angle = (level * np.pi / 2).reshape(-1, 1, 1, 1)
  y_t = np.cos(angle) * cond.picture[::V] + np.sin(angle) * cond.noise[::V]
  first = jax.jit(lambda *x: net.apply(variables, *x))(
      y_t, jnp.asarray(level, jnp.float32), cond.reference.tokens[:N], cond.reference.extra[:N])
  memory = write(params, cond, t)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **CLOSE), memory, first)
  v = jax.jit(lambda *x: net.apply(variables, *x))(
      x_t, t, cond.view.tokens, cond.view.extra, memory, jnp.ones(N, bool))
  angle = np.repeat([0.3, 0.8], V).reshape(-1, 1, 1, 1) * np.pi / 2
  eps = predict(params, x_t, t, cond)
  np.testing.assert_allclose(eps, np.sin(angle) * x_t + np.cos(angle) * v, **CLOSE)
  np.testing.assert_allclose(read(params, x_t, t, cond, memory), eps, **CLOSE)


def test_the_null_condition_does_not_know_the_reference(params, cond, state):
  other = cond.replace(picture=-cond.picture)
  assert np.abs(predict(params, *state, other) - predict(params, *state, cond)).max() > 1e-3
  null = [predict(params, *state, multiview.without_reference(c)) for c in (other, cond)]
  np.testing.assert_allclose(*null, **CLOSE)


def test_guidance_is_one_pass_over_references_and_one_over_views(params, cond, state):
  calls = []
  counted = prior._replace(
      write=lambda *x: calls.append('write') or prior.write(*x),
      read=lambda *x: calls.append(len(x[1])) or prior.read(*x))
  guided = lambda scale, *memory: jax.jit(lambda params, x, t, cond: multiview.predict_guided(
      counted, params, x, t, cond, scale, *memory))(params, *state, cond)
  plain, null = (predict(params, *state, c) for c in (cond, multiview.without_reference(cond)))
  np.testing.assert_allclose(guided(2.5), null + 2.5 * (plain - null), rtol=1e-2, atol=1e-3)
  assert calls == ['write', 2 * N * V]
  calls.clear()
  np.testing.assert_allclose(guided(1.0, write(params, cond, state[1])), plain, **CLOSE)
  assert calls == [N * V]


def test_samples_redraw_the_noise_of_the_references(params, cond):
  """The clean estimate is a tenth of the reference's noise: a sample shows that of the last step.
  """
  fake = prior._replace(
      write=lambda params, cond, t: cond.noise[::V],
      read=lambda params, x_t, t, cond, memory: base.eps_from_x0(
          multiview.SCHEDULE, x_t, t, 0.1 * jnp.repeat(memory, V, 0)))
  draw = jax.jit(lambda key, cond, steps: multiview.sample(
      key, fake, None, cond, steps), static_argnums=2)
  first, again, other, longer = (
      np.asarray(draw(jax.random.key(seed), c, steps)).reshape(N, V, 8, 8, 3)
      for seed, c, steps in ((0, cond, 2), (0, multiview.with_noise(cond, cond.noise[:N]), 2),
                             (1, cond, 2), (0, cond, 3)))
  np.testing.assert_allclose(first, np.repeat(first[:, :1], V, 1), atol=1e-4)
  assert 0.08 < first.std() < 0.12 and np.abs(first[0] - first[1]).max() > 0.1
  np.testing.assert_allclose(again, first, atol=1e-6)
  assert np.abs(other - first).max() > 0.1 and np.abs(longer - first).max() > 0.1


def test_references():
  good = np.ones((2, 8, 8, 3), np.float32)
  good[:, 2:5, 3:6] = 0.2
  np.testing.assert_array_equal(multiview.check_references(good), good)
  small = np.uint8(good * 255)
  np.testing.assert_allclose(multiview.check_references(small), small / 255, atol=1e-6)
  empty = good.copy()
  empty[1] = 0.7
  for images, words in (
      (good[0], 'square RGB'), (good[..., :2], 'square RGB'), (good[:, :4], 'square RGB'),
      (good[:0], 'square RGB'), (good.astype(int), 'uint8 or floating'), (2 * good, r'\[0, 1\]'),
      (good * np.nan, r'\[0, 1\]'), (empty, 'Reference 1 shows no object')):
    with pytest.raises(ConfigError, match=words) as error:
      multiview.check_references(images)
    assert '\n' not in str(error.value)


def folder(path, name, tensors, config):
  where = path / name
  where.mkdir()
  weights.save(where / 'weights.safetensors', tensors, dtype=np.float16)
  (where / 'config.json').write_text(json.dumps(config))
  (where / 'words.json').write_text(json.dumps(WORDS))
  weights.seal(where, ('weights.safetensors', 'config.json', 'words.json'))
  return where


def test_folders_hold_what_was_trained(tmp_path, params, cond, state):
  half = jax.tree.map(lambda x: np.asarray(x, np.float16).astype(np.float32), params)
  frozen, trained = tree.partition(half, CONFIG['frozen'])
  plain = nets.random_parameters(embedded.make(PLAIN).init, jax.random.key(0), scale=0.2)
  start = folder(tmp_path, 'prior', tree.join(plain, frozen), PLAIN)
  sizes = CONFIG | {'prior': multiview.digest(start)}
  whole = folder(tmp_path, 'whole', trained, {'net': sizes})
  loaded, loaded_params, condition = multiview.load(whole, start)
  jax.tree.map(np.testing.assert_array_equal, loaded_params, half)
  again = condition(loaded_params, cond.picture[::V], cond.noise[::V])
  np.testing.assert_allclose(again.view.tokens, cond.view.tokens, rtol=1e-2, atol=1e-2)
  for name, tensors, config, words in (
      ('other', trained, {'net': CONFIG | {'prior': 'abc'}}, 'another embedded prior'),
      ('less', tree.partition(trained, 'slot')[1], {'net': sizes}, 'another network'),
      ('all', half, {'net': sizes}, 'another network'),
      ('no_net', trained, {'config': sizes}, 'does not describe'),
      ('no_share', trained, {'net': {k: v for k, v in sizes.items() if k != 'joint'}},
       'does not describe')):
    with pytest.raises(WeightError, match=words):
      multiview.load(folder(tmp_path, name, tensors, config), start)
  (whole / 'config.json').write_text(json.dumps({'net': sizes | {'share': 1.0}}))
  with pytest.raises(WeightError, match='damaged or was replaced'):
    multiview.load(whole, start)

"""The embedded prior: its record, its folder of weights, and the one that is shipped."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import tree, weights
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.data import figurine_examples
from jax3dgen.prior import base, embedded
from tests import nets

WORDS = ['', 'a', 'red', 'bear', 'side', 'view']
CONFIG = {'size': 16, 'denoiser': {'channels': [8, 16], 'embedding': 16, 'head_width': 8,
                                   'expansion': 1},
          'text': {'words': len(WORDS), 'length': 4, 'width': 8, 'depth': 1, 'heads': 2}}


@pytest.fixture(scope='module')
def params():
  """Random parameters without the zeros of a fresh net."""
  return nets.random_parameters(embedded.make(CONFIG).init, jax.random.key(0))


def seal(folder):
  names = ('weights.safetensors', 'config.json', 'words.json')
  weights.seal(folder, [name for name in names if (folder / name).exists()])


@pytest.fixture
def folder(tmp_path, params):
  weights.save(tmp_path / 'weights.safetensors', params)
  (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
  (tmp_path / 'words.json').write_text(json.dumps(WORDS))
  seal(tmp_path)
  return tmp_path


def test_load_gives_the_record_the_weights_and_the_tokenizer(folder, params):
  prior, loaded, tokenize = embedded.load(folder)
  jax.tree.map(np.testing.assert_array_equal, loaded, params)
  ids = tokenize(['a red bear', '', 'Bear, side view'])
  np.testing.assert_array_equal(ids, [[1, 2, 3, 0], [0, 0, 0, 0], [3, 4, 5, 0]])
  with pytest.raises(ConfigError, match='bears'):
    tokenize(['a red bears'])
  cond = jax.jit(prior.embed)(loaded, ids)
  assert cond.tokens.shape == (3, 4, 8) and cond.extra.shape == (3, 8)
  assert not cond.tokens[1].any() and not cond.extra[1].any()
  x, t = jax.random.normal(jax.random.key(1), (3, 16, 16, 3)), jnp.array([0.1, 0.5, 0.9])
  velocity = embedded.network(CONFIG)[2]
  eps, v = jax.jit(lambda *args: (prior.predict(*args), velocity(*args)))(loaded, x, t, cond)
  x0 = base.x0_from_eps(prior.schedule, x, t, eps)
  alpha, sigma = base.coefficients(prior.schedule, t, x)
  np.testing.assert_allclose(x0, alpha * x - sigma * v, atol=1e-4)


def test_a_weights_file_inside_its_folder_is_accepted(folder, params):
  jax.tree.map(np.testing.assert_array_equal,
               embedded.load(folder / 'weights.safetensors')[1], params)


def test_encode_and_decode_are_inverse_and_differentiable():
  prior = embedded.make(CONFIG)
  image = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
  np.testing.assert_allclose(prior.decode({}, prior.encode({}, image)), image, atol=1e-6)
  large = jax.random.uniform(jax.random.key(0), (2, 64, 64, 3))
  small = prior.encode({}, large)
  assert small.shape == (2, 16, 16, 3)
  np.testing.assert_allclose(small.mean(), 2 * large.mean() - 1, atol=0.02)
  pulled = jax.grad(lambda x: prior.encode({}, x).sum())(large)
  assert (np.asarray(pulled) > 0).all()  # antialiased: every pixel counts


def remove(name):
  return lambda folder: (folder / name).unlink()


def put(name, text):
  return lambda folder: (folder / name).write_text(text)


def flip(folder):
  data = bytearray((folder / 'weights.safetensors').read_bytes())
  data[-1] ^= 1
  (folder / 'weights.safetensors').write_bytes(data)


FAULTS = {
    'no weights': (remove('weights.safetensors'), 'No such file'),
    'no config': (remove('config.json'), 'config.json'),
    'broken config': (put('config.json', '{"size": '), 'does not describe'),
    'another word': (put('words.json', json.dumps([*WORDS, 'dragon'])), 'words.json has'),
    'empty config': (put('config.json', '{}'), 'does not describe'),
    'unknown field': (put('config.json', json.dumps(CONFIG | {'text': {'depht': 1}})),
                      'does not describe'),
    'another network': (put('config.json', json.dumps(CONFIG | {'denoiser': CONFIG['denoiser'] | {
        'channels': [8, 24]}})), 'another network'),
    'no words': (remove('words.json'), 'words.json'),
    'no checksum': (remove('sha256'), 'sha256'),
    'empty checksum': (put('sha256', ''), 'sha256'),
    'flipped byte': (flip, 'damaged'),
}


@pytest.mark.parametrize(('harm', 'text'), FAULTS.values(), ids=FAULTS)
def test_a_faulty_folder_is_refused(folder, harm, text):
  harm(folder)
  if text in ('does not describe', 'another network', 'words.json has'):
    with pytest.raises(WeightError, match='damaged or was replaced'):
      embedded.load(folder)
    seal(folder)
  with pytest.raises(WeightError, match=text):
    embedded.load(folder)


def test_a_pickle_is_refused(tmp_path):
  (tmp_path / 'model.ckpt').write_bytes(b'\x80\x04')
  with pytest.raises(WeightError, match='pickle'):
    embedded.load(tmp_path / 'model.ckpt')


def test_shipped_weights():
  """Whole, within 12 MB, and with everything that makes them repeatable beside them."""
  prior, params, tokenize = embedded.load()
  assert tree.count(params) > 1e6
  folder = embedded.shipped()
  assert (folder / 'weights.safetensors').stat().st_size <= 12e6
  for name in ('card.md', 'curve.csv', 'curve.svg', 'training.json'):
    assert (folder / name).stat().st_size > 0
  assert 'Apache-2.0' in (folder / 'card.md').read_text()
  assert tokenize(['a red bear, side view', '']).shape[0] == 2


@pytest.mark.slow
def test_shipped_prior_denoises():
  """It tells a figurine from its noise far better than the mean image would, with its caption."""
  prior, params, _ = embedded.load()
  example = jax.jit(lambda key: figurine_examples.draw(key, 16))(jax.random.key(7))
  x0 = prior.encode(params, example.image)
  t = jnp.full((16,), 0.6)
  eps = jax.random.normal(jax.random.key(8), x0.shape)

  @jax.jit
  def error(tokens):
    x_t = base.add_noise(prior.schedule, x0, t, eps)
    got = base.x0_from_eps(prior.schedule, x_t, t, prior.predict(
        params, x_t, t, prior.embed(params, tokens)))
    return jnp.square(got - x0).mean()

  variance = float(jnp.square(x0 - x0.mean(0, keepdims=True)).mean())
  assert float(error(example.tokens)) < 0.1 * variance
  assert float(error(example.tokens)) < float(error(jnp.zeros_like(example.tokens)))

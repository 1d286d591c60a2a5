"""Which captions are true of which images, the contrastive loss by hand, and whole runs."""

import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest
from scipy import special

from configs.nets import text_image as configs
from jax3dgen.core import rng
from jax3dgen.data import figurine_examples, figurines, prompts
from jax3dgen.perception import text_image as model
from jax3dgen.prior import words
from jax3dgen.recipes.nets import ship, text_image

CFG = FrozenConfigDict(configs.get_config('tiny'))
MEASURED = {'clean': {'object': 0.5, 'side': 0.5}, 'spoilt': {'object': 0.5, 'side': 0.5},
            'entropy': {'mean': 1.0, 'least': 0.9}, 'distance': 0.1, 'wrong_distance': 0.7,
            'scale': 10.0}


def noise(key, batch, data, strength):
  """Pairs without figurines: they compile in no time."""
  k_image, k_token, k_kind = jax.random.split(key, 3)
  tokens = jax.random.randint(k_token, (batch, figurine_examples.LENGTH), 1, 9)
  zero = jnp.zeros((batch,), jnp.int32)
  return text_image.Pairs(
      jax.random.uniform(k_image, (batch, 32, 32, 3)), tokens, jnp.eye(batch),
      jax.random.randint(k_kind, (batch,), 0, 6), zero, zero)


def test_what_captions_are_true_of():
  texts = ['a red bear', 'a red bear, side view', 'a red bear with a hat', 'a blue car, back view']
  tokens = jnp.asarray(words.tokenize(texts, figurine_examples.words(), figurine_examples.LENGTH))
  phrase = jnp.array([0, 2, 0, 3])
  images = [('bear', 'red', 0, 2), ('bear', 'red', 0, 1), ('bear', 'red', 1, 2),
            ('car', 'blue', 0, 3)]
  column = lambda i: jnp.array([image[i] for image in images])
  figurine = figurines.Figurine(
      jnp.array([figurines.KINDS.index(image[0]) for image in images]),
      jnp.array([figurines.COLORS.index(image[1]) for image in images]), column(2))
  result = text_image.truth(figurine, column(3), tokens, phrase)
  np.testing.assert_array_equal(result, [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]])
  assert prompts.VIEW_PHRASES[2] == 'side view' and prompts.VIEW_PHRASES[3] == 'back view'


def test_loss_is_the_divergence_of_both_softmaxes():
  rng = np.random.default_rng(0)
  truth = np.eye(5)
  truth[0, 1] = truth[3, 4] = 1
  image, text = rng.normal(size=(2, 5, 3)).astype(np.float32)
  pairs = text_image.Pairs(image, text, jnp.asarray(truth, jnp.float32), None, None, None)
  loss, terms = text_image.objective(
      (lambda p, x: x, lambda p, x: x), {'log_scale': jnp.float32(0.3)}, pairs)
  logits = np.exp(0.3) * image @ text.T

  def divergence(logits, truth):
    rows = []
    for line, true in zip(logits, truth, strict=True):
      target = true / true.sum()
      rows.append(special.rel_entr(target, special.softmax(line)).sum())
    return np.mean(rows)
  want = divergence(logits, truth), divergence(logits.T, truth.T)
  assert float(terms['to_text']) == pytest.approx(want[0], rel=1e-5)
  assert float(terms['to_image']) == pytest.approx(want[1], rel=1e-5)
  assert float(loss) == pytest.approx(np.mean(want), rel=1e-5)


def test_a_perfect_model_has_no_loss():
  pairs = text_image.Pairs(jnp.eye(4), jnp.eye(4), jnp.eye(4), None, None, None)
  same = (lambda p, x: x, lambda p, x: x)
  loss = lambda log_scale: float(text_image.objective(
      same, {'log_scale': jnp.float32(log_scale)}, pairs)[0])
  assert loss(4.6) < 1e-6 < loss(1.0)
  assert loss(9.0) == loss(text_image.LOG_SCALE)  # the scale is bounded


@pytest.mark.slow
def test_run_fits_one_batch_and_writes_a_folder_that_loads(tmp_path, monkeypatch):
  fixed = jax.random.key(3)
  monkeypatch.setattr(text_image, 'draw', lambda key, *args: noise(fixed, *args))
  net = text_image.NET._replace(measure=lambda params, cfg: MEASURED)
  config = configs.get_config('tiny')
  config.train.steps, config.checkpoint.every = 40, 40
  folder = ship.run(net, config, tmp_path)
  loaded = model.load(folder)
  text = np.asarray(loaded.texts(['a red bear', 'a blue car, side view']))
  image = np.asarray(loaded.images(np.random.default_rng(0).random((3, 48, 48, 3))))
  assert text.shape == (2, 16) and image.shape == (3, 16)
  for x in (text, image):
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
  assert 1 < loaded.scale <= np.exp(text_image.LOG_SCALE)
  losses = np.genfromtxt(tmp_path / 'metrics.csv', delimiter=',', names=True)['loss']
  assert losses[-1] < 0.5 * losses[0]
  record = json.loads((folder / 'config.json').read_text())
  assert record['measured'] == MEASURED and record['config']['train']['steps'] == 40


@pytest.mark.slow
def test_draws_are_labelled_and_measured(tmp_path):
  draw = jax.jit(lambda key: text_image.draw(key, 64, CFG.data, 1.0))
  pairs = draw(jax.random.key(0))
  assert pairs.images.shape == (64, 32, 32, 3)
  assert (np.diagonal(pairs.truth) == 1).all()  # each caption is true of its own image
  assert 0.02 < np.asarray(pairs.truth).mean() < 0.2
  folder = ship.run(text_image.NET, configs.get_config('tiny'), tmp_path)
  measured = json.loads((folder / 'config.json').read_text())['measured']
  assert measured.keys() == MEASURED.keys()
  # the share of objects again, from the folder and caption by caption
  loaded = model.load(folder)
  key = jax.random.split(rng.stream(jax.random.key(ship.HELD_OUT), 'clean'), 1)[0]
  pairs = jax.jit(lambda k: text_image.draw(k, text_image.CHUNK, CFG.data, 0.0))(key)
  names = [f'a {color} {kind}' for kind in figurines.KINDS for color in figurines.COLORS]
  cosine = np.asarray(loaded.images(pairs.images)) @ np.asarray(loaded.texts(names)).T
  right = [names[row.argmax()] == f'a {figurines.COLORS[c]} {figurines.KINDS[k]}'
           for row, k, c in zip(cosine, pairs.kind, pairs.color, strict=True)]
  assert measured['clean']['object'] == pytest.approx(np.mean(right), abs=0.006)

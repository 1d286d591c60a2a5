"""The shipped text-image model on pictures of the world, and folders that are refused."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import camera as cameras
from jax3dgen.core import image, weights
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.data import figurines
from jax3dgen.metrics import entropy
from jax3dgen.perception import text_image


@pytest.fixture(scope='module')
def model():
  return text_image.load()


@pytest.fixture(scope='module')
def views():
  """(names, images [K, 8, 64, 64, 3]) of each kind in another colour, from 8 sides."""
  camera = cameras.ring(8, np.deg2rad(15.0), 2.9, np.deg2rad(40.0))

  @jax.jit
  def draw(kind, color):
    full = lambda x: jnp.full((8,), x, jnp.int32)
    return figurines.render(figurines.Figurine(full(kind), full(color), full(0)), camera, 32).rgb

  count = len(figurines.KINDS)
  names = [f'a {figurines.COLORS[k]} {figurines.KINDS[k]}' for k in range(count)]
  return names, np.stack([image.enlarge(draw(k, k), 2) for k in range(count)])


def test_kinds_and_colours_are_classified(model, views):
  names, pictures = views
  embeddings = np.asarray(model.images(pictures.reshape(-1, 64, 64, 3)))
  every = [f'a {color} {kind}' for kind in figurines.KINDS for color in figurines.COLORS]
  texts = np.asarray(model.texts(every))
  np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-4)
  named = [every[i] for i in (embeddings @ texts.T).argmax(1)]
  right = np.mean([a == b for a, b in zip(named, np.repeat(names, 8), strict=True)])
  assert right > 0.95


def test_front_side_and_back_are_classified(model, views):
  names, pictures = views
  right, entropies = [], []
  for name, images in zip(names, pictures, strict=True):
    texts = model.texts([f'{name}, {side} view' for side in ('front', 'side', 'back')])
    p = entropy.zero_shot(model.images(images), texts, model.scale)
    right.append((p.argmax(1)[::2] == [0, 1, 2, 1]).mean())  # the views on the axes
    entropies.append(entropy.of_mean(p))
    assert entropy.of_mean(p[:1]) < entropies[-1]
  assert np.mean(right) > 0.9 and np.mean(entropies) > 1.0


def test_the_right_text_is_nearer(model, views):
  names, pictures = views
  texts = np.asarray(model.texts(names))
  for k, images in enumerate(pictures):
    away = [entropy.text_distance(model.images(images), text) for text in texts]
    assert np.argmin(away) == k and 0 < away[k] < 1


def test_recorded_accuracy_meets_the_targets():
  folder = text_image.shipped()
  measured = json.loads((folder / 'config.json').read_text())['measured']
  for pictures in ('clean', 'spoilt'):
    assert measured[pictures]['object'] >= 0.99 and measured[pictures]['side'] >= 0.97
  assert (folder / 'weights.safetensors').stat().st_size <= 1_500_000


def test_unknown_words_are_refused(model):
  with pytest.raises(ConfigError, match='unicorn'):
    model.texts(['a red unicorn'])


def test_damaged_and_foreign_folders_are_refused(tmp_path):
  folder = tmp_path / 'weights'
  shutil.copytree(text_image.shipped(), folder)
  words = json.loads((folder / 'words.json').read_text())
  (folder / 'words.json').write_text(json.dumps([*words, 'unicorn']))
  with pytest.raises(WeightError, match='sha256'):
    text_image.load(folder)
  weights.seal(folder, ('weights.safetensors', 'config.json', 'words.json'))
  with pytest.raises(WeightError, match='vocabulary'):
    text_image.load(folder)
  (folder / 'config.json').write_text('{}')
  weights.seal(folder, ('weights.safetensors', 'config.json', 'words.json'))
  with pytest.raises(WeightError, match='does not describe'):
    text_image.load(folder)
  (folder / 'sha256').unlink()
  with pytest.raises(WeightError):
    text_image.load(folder)

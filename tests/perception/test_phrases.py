"""Attributes by texts: held-out figurines, hats and colours."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import camera
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurines
from jax3dgen.perception import phrases, text_image

COLORS = figurines.COLORS


@pytest.fixture(scope='module')
def bears():
  """Bears in every colour, seen from the front, without and with a hat: [2 C, 32, 32, 3]."""
  color = np.tile(np.arange(len(COLORS)), 2)
  hat = np.repeat([0, 1], len(COLORS))
  kind = np.full(len(color), figurines.KINDS.index('bear'))
  bear = jax.jit(lambda figurine: figurines.render(figurine, camera.orbit(
      0.3 * jnp.ones(len(color)), 0.2, 2.9, np.deg2rad(40.0)), 32).rgb)
  return bear(figurines.Figurine(kind, color, hat))


def probabilities(images, texts, temperature=0.05):
  cfg = SimpleNamespace(templates='|'.join(texts), temperature=temperature)
  arrays = phrases.load('a bear', cfg)
  return np.asarray(jax.jit(lambda arrays, images: phrases.classify(arrays, images, None, cfg))(
      arrays, images))


def test_colours_are_classified(bears):
  p = probabilities(bears, [f'a {color} bear' for color in COLORS])
  np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
  assert (p.argmax(-1) == np.tile(np.arange(len(COLORS)), 2)).mean() > 0.8


def test_it_is_the_softmax_of_the_model_s_cosines(bears):
  model = text_image.load()
  texts = ['a red bear', 'a blue car']
  expected = jax.nn.softmax(model.images(bears) @ model.texts(texts).T / 0.1)
  np.testing.assert_allclose(probabilities(bears, texts, 0.1), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('texts', ['', 'a bear', 'a bear|'])
def test_fewer_than_two_texts_are_refused(texts):
  with pytest.raises(ConfigError, match='two or more texts'):
    phrases.load('a bear', SimpleNamespace(templates=texts))

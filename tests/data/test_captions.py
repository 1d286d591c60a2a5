"""Captions: padding last, templates in known words, the empty caption."""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.data import captions, figurine_examples, prompts
from jax3dgen.prior import words

_draw = jax.jit(captions.sample_captions)
BATCH = 500


def sample(kind=0, color=0, hat=0, view=1, degradation=0, phrase=0.0, double=0.0):
  full = lambda x: jnp.full(BATCH, x, jnp.int32)
  return _draw(jax.random.key(0), full(kind), full(color), full(hat), full(view),
               full(degradation), phrase=phrase, double_phrase=double)


def test_padding_is_last_and_nothing_is_cut():
  tokens = np.asarray(sample(hat=1, degradation=2, double=1.0).tokens)
  length = (tokens > 0).sum(-1)
  assert tokens.shape == (BATCH, captions.LENGTH) and length.max() == captions.LENGTH
  for row, n in zip(tokens, length, strict=True):
    assert (row[:n] > 0).all() and (row[n:] == 0).all()
  texts = [t for t in captions.decode(tokens) if 'red' in t]
  assert all(t.endswith('view') and 'noisy' in t for t in texts) and len(texts) > 350


def test_plain_captions_have_the_usual_forms():
  texts = set(captions.decode(sample().tokens))
  assert {'a red bear', 'red bear', 'a toy red bear', 'a figurine of a red bear',
          'a photo of a red bear'} <= texts
  assert 'a red bear with a hat' in captions.decode(sample(hat=1).tokens)


def test_view_phrases_are_those_of_the_prompts():
  texts = {view: set(captions.decode(sample(view=view, phrase=1.0).tokens))
           for view in (1, 2, 3, 4)}
  for view, key in ((1, 'front'), (2, 'side'), (3, 'back'), (4, 'overhead')):
    prompt = prompts.view_prompts('a red bear')[key]
    assert ' '.join(words.split(prompt)) in texts[view]
  assert 'a red bear from back view' in texts[3]
  two = captions.decode(sample(view=2, double=1.0).tokens)
  assert {'red bear from side view from back view', 'red bear from back view from side view',
          'red bear from front view from side view'} <= set(two)


def test_overhead_captions_never_name_two_views():
  caption = sample(view=4, double=1.0)
  assert (np.asarray(caption.second) == 0).all()


def test_vocabulary_is_closed_and_without_repeats():
  vocabulary = figurine_examples.words()
  assert vocabulary[0] == '' and len(set(vocabulary)) == len(vocabulary)
  tokens = sample(hat=1, degradation=3, double=0.5).tokens
  again = words.tokenize(captions.decode(tokens), vocabulary, captions.LENGTH)
  np.testing.assert_array_equal(again, tokens)


def test_empty_caption_is_all_padding():
  assert not words.tokenize([''] * 3, captions.WORDS, captions.LENGTH).any()


def test_view_phrase_at_known_cameras():
  azimuth = np.deg2rad([0, 44, 46, 90, 134, 136, 180, -90, 10])
  elevation = np.deg2rad([0, 0, 0, 0, 0, 0, 0, 0, 41])
  got = captions.view_phrase(cameras.orbit(azimuth, elevation, 2.9, 0.7))
  np.testing.assert_array_equal(got, [1, 1, 2, 2, 2, 3, 3, 2, 4])

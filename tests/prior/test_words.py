"""The tokenizer: known words, synonyms, and everything that people and attackers type."""

import re
import warnings

import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.prior import words

VOCABULARY = ['', 'a', 'red', 'gray', 'bear', 'rabbit', 'front', 'view', 'above', 'from']


def ids(*names, length=6):
  return [VOCABULARY.index(n) for n in names] + [0] * (length - len(names))


@pytest.mark.parametrize('text, expected', [
    ('a red bear', ('a', 'red', 'bear')),
    ('  A RED\tbear!\n', ('a', 'red', 'bear')),
    ('a red bear, front-view.', ('a', 'red', 'bear', 'front', 'view')),
    ('an grey bunny', ('a', 'gray', 'rabbit')),
    ('ａ ｒｅｄ bear', ('a', 'red', 'bear')),
    ('../a red/bear', ('a', 'red', 'bear')),
    ('', ()),
])
def test_known_words(text, expected):
  tokens = words.tokenize([text, 'bear'], VOCABULARY, 6)
  assert tokens.dtype == np.int32 and tokens.shape == (2, 6)
  np.testing.assert_array_equal(tokens, [ids(*expected), ids('bear')])


def test_synonyms_need_their_word_in_the_vocabulary():
  with pytest.raises(ConfigError, match="'grey'"):
    words.tokenize(['grey'], ['', 'red'], 4)
  assert words.tokenize(['grey'], ['', 'grey', 'gray'], 1)[0, 0] == 1  # an own word goes first


def test_unknown_word_names_the_closest_and_the_whole_list():
  with pytest.raises(ConfigError) as caught:
    words.tokenize(['a red baer'], VOCABULARY, 6)
  text = str(caught.value)
  assert "'baer' (did you mean bear?)" in text
  assert all(word in text for word in VOCABULARY)


@pytest.mark.parametrize('bad', [
    'a red \U0001f43b', 'a red bear\0', '<script>alert(1)</script>', 'x' * 100000, 'bear\x1b[31m',
    'медведь', 'a red bear\u200b', ' '.join(f'w{i}' for i in range(10000)), '\ud800',
])
def test_hostile_text_is_refused_in_one_short_printable_sentence(bad):
  with pytest.raises(ConfigError) as caught:
    words.tokenize([bad], VOCABULARY, 6)
  text = str(caught.value)
  assert text.isprintable() and text.isascii() and len(text) < 1000


def test_long_text_is_cut_with_a_notice():
  with pytest.warns(UserWarning, match='longer than the 6 words'):
    tokens = words.tokenize([' '.join(['red'] * 10000)], VOCABULARY, 6)
  np.testing.assert_array_equal(tokens, [[VOCABULARY.index('red')] * 6])


@pytest.mark.parametrize('count', [3, 4, 5, 6, 20])
def test_a_view_phrase_at_the_end_of_a_long_text_stays(count):
  text = ' '.join(['red'] * (count - 1) + ['bear']) + ', front view'
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    tokens = words.tokenize([text], VOCABULARY, 6)[0]
  rest = [VOCABULARY[i] for i in tokens if i]
  assert rest[-2:] == ['front', 'view'] and rest[0] == 'red' and len(rest) == min(count, 4) + 2


def test_with_synonyms_adds_synonyms():
  assert words.with_synonyms('A grey Bunny!') >= {'a', 'grey', 'gray', 'bunny', 'rabbit'}


@pytest.mark.parametrize('prompt', [
    'a red bear', '', '../../etc/passwd', 'a\0b', 'a\nb', '\U0001f43b', 'x' * 10000, '.',
    '<script>', 'CON', '-rf', '\ud800',
])
def test_slug_is_a_safe_file_name(prompt):
  slug = words.slug(prompt)
  assert re.fullmatch('[a-z0-9][a-z0-9-]*', slug) and len(slug) <= 49
  assert slug == words.slug(prompt)


def test_slugs_of_similar_prompts_differ():
  prompts = ['a red bear', 'a red bear!', 'A red bear', 'a-red-bear', 'a red bear ']
  assert len({words.slug(p) for p in prompts}) == len(prompts)
  assert words.slug('a red bear').startswith('a-red-bear-')

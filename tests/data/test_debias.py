"""Prompt debiasing: by the word list, and by a masked language model with random weights."""

import numpy as np
import pytest
import torch
import transformers

from jax3dgen.core.errors import ConfigError
from jax3dgen.data import debias, prompts


def test_words_of_a_view_are_removed_from_the_other_views():
  texts = debias.by_view('a smiling bear, front view')
  assert texts['front'] == 'a smiling bear, front view'
  assert texts['side'] == texts['back'] == texts['overhead'] == 'a bear'
  assert debias.by_view('a bear with a backpack')['front'] == 'a bear'
  assert debias.by_view('a bear with a backpack')['back'] == 'a bear with a backpack'
  assert set(debias.by_view('a red bear').values()) == {'a red bear'}
  assert debias.by_view('smile')['back'] == 'smile'  # nothing would be left


def test_a_word_is_removed_where_the_ratio_is_below_the_threshold():
  # By hand: p(back) 0.2 with 'x' and 0.25 without, so 0.2 / 0.225 = 0.889; with 'y' 0.2 and 0.21.
  table = {'x y': 0.2, 'y': 0.25, 'x': 0.21}
  score = lambda texts: [[0.3, 0.3, table[text], 0.2] for text in texts]
  assert debias.by_view('x y', score)['back'] == 'y'
  assert debias.by_view('x y', score)['front'] == 'x y'


def test_words_are_whole_words():
  assert debias.without('a faceless face, facet', ['face']) == 'a faceless, facet'
  assert debias.candidates('front view of eyes') == ['front view', 'eyes']


@pytest.mark.parametrize('text, front, back', [
    ('a bear with a black eye', None, 'a bear'), ('a bear with a black hat', None, None),
    ('a bear with a smiling face and a hat', None, 'a bear and a hat'),
    ('a bear facing away', 'a bear', None), ('a bear, big eyes, red', None, 'a bear, red'),
    ('a zombie bust, head sculpture', None, 'a zombie, head sculpture'),
    ('a portrait of a man', None, 'a man'), ('a bear on its back', None, None)])
def test_a_noun_goes_with_its_phrase(text, front, back):
  texts = debias.by_view(text)
  assert (texts['front'], texts['back']) == (front or text, back or text)


def test_a_language_model_is_asked_about_phrases():
  assert debias.candidates('a red bear lying on its back') == [
      'red', 'bear', 'lying', 'on its back']
  score = lambda texts: [[0.5, 0.2, 0.2 + 0.1 * ('back' not in text), 0.1] for text in texts]
  assert debias.by_view('a bear on its back', score)['back'] == 'a bear'


def test_view_prompts_take_the_text_of_their_view():
  texts = prompts.view_prompts('a bear, front view', debias.by_view('a bear, front view'))
  assert texts['back'] == 'a bear, back view' and texts['main'] == 'a bear, front view'
  assert texts['front'] == 'a bear, front view, front view'


def test_masked_language_model_fills_in_the_view(tmp_path):
  words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'front', 'side', 'back', 'overhead',
           'bear', 'face', 'seen', 'in', 'a', 'view', ',', '.']
  (tmp_path / 'vocab.txt').write_text('\n'.join(words))
  torch.manual_seed(0)
  model = transformers.BertForMaskedLM(transformers.BertConfig(
      vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
      intermediate_size=16, max_position_embeddings=32,
      initializer_range=1.0)).eval()
  model.save_pretrained(tmp_path)
  transformers.BertTokenizer(vocab={w: i for i, w in enumerate(words)}).save_pretrained(tmp_path)
  shares = np.array(debias.scorer(str(tmp_path))(['a bear', 'a face']))
  np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
  ids = torch.tensor([[2, 13, 9, 15, 11, 12, 13, 4, 14, 16, 3]])  # a bear , seen in a [MASK] view .
  with torch.no_grad():
    expected = model(ids).logits[0, 7, 5:9].softmax(-1)
  np.testing.assert_allclose(shares[0], expected, rtol=1e-4)
  assert np.abs(shares[0] - shares[1]).max() > 1e-5


def test_what_is_no_model_is_refused(tmp_path):
  assert debias.scorer('') is None
  with pytest.raises(ConfigError, match='config.debias.prompt'):
    debias.scorer(str(tmp_path / 'nothing'))

"""The tokenizer of published folders."""

import json
import sys

import numpy as np
import pytest
import transformers

from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.prior import clip_tokens
from tests import published


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  root = tmp_path_factory.mktemp('tokens')
  published.tokenizer(root / 'one')
  published.tokenizer(root / 'two', pad='!')
  return root / 'one', root / 'two'


TEXTS = ('', 'a red bear, side view', 'A  RED\n bear!', '\U0001f43b\0../é')


@pytest.mark.parametrize('text', TEXTS)
def test_ids_are_those_of_transformers(folders, text):
  ids = clip_tokens.load_tokenizers(folders)([text, 'a'])
  assert ids.shape == (2, 2, 77) and ids.dtype == np.int32
  for i, folder in enumerate(folders):
    theirs = transformers.CLIPTokenizer.from_pretrained(str(folder))
    expected = theirs([text, 'a'], padding='max_length', truncation=True, max_length=77)
    np.testing.assert_array_equal(ids[:, i], expected['input_ids'])


def test_one_file_gives_the_ids_of_two(folders, tmp_path):
  """tokenizer.json, as transformers writes it today, against the vocab.json and merges.txt of which
  it was made, with both ends of padding of Stable Diffusion."""
  for i, folder in enumerate(folders):
    transformers.CLIPTokenizer.from_pretrained(str(folder)).save_pretrained(tmp_path / str(i))
    for name in ('vocab.json', 'merges.txt'):
      assert not (tmp_path / str(i) / name).exists()
  both = [clip_tokens.load_tokenizers(x)([*TEXTS, 'a bear!', "it's 42"])
          for x in (folders, [tmp_path / '0', tmp_path / '1'])]
  np.testing.assert_array_equal(*both)
  assert both[1][0, 0, -1] != both[1][0, 1, -1]


@pytest.mark.parametrize('model', [
    {'type': 'WordLevel', 'vocab': {'a': 0}, 'unk_token': 'a'}, {'merges': []}, 'text',
    {'end_of_word_suffix': ''}])
def test_tokenizers_of_other_models_are_refused(folders, tmp_path, model):
  """Each of them is read by transformers, and gives other ids."""
  transformers.CLIPTokenizer.from_pretrained(str(folders[0])).save_pretrained(tmp_path)
  path = tmp_path / 'tokenizer.json'
  whole = json.loads(path.read_text())
  whole['model'] = whole['model'] | model if isinstance(model, dict) else model
  path.write_text(json.dumps(whole))
  with pytest.raises(WeightError, match='no tokenizer of CLIP: the model in tokenizer.json'):
    clip_tokens.load_tokenizers([tmp_path])
  path.unlink()
  with pytest.raises(WeightError, match='lacks vocab.json, merges.txt; '):
    clip_tokens.load_tokenizers([tmp_path])


def test_long_prompts_lose_words_before_the_last_comma_with_a_warning(folders, capfd):
  tokenize = clip_tokens.load_tokenizers(folders[:1])
  with pytest.warns(UserWarning, match='longer than the 75 tokens'):
    long = tokenize([' '.join(['bear'] * 10_000) + ', side view'])[0, 0]
  bear, *tail = (tokenize([text])[0, 0] for text in ('bear', ', side view'))
  assert long[76] == bear[2] and (long[1:73] == bear[1]).all()
  np.testing.assert_array_equal(long[73:76], tail[0][1:4])
  with pytest.warns(UserWarning):
    assert (tokenize(['a' + ',' * 200])[0, 0, 1:76] != long[76]).all()
  assert capfd.readouterr().err == ''  # one notice, not the library's as well


def test_a_missing_package_is_named(folders, monkeypatch):
  monkeypatch.setitem(sys.modules, 'transformers', None)
  with pytest.raises(ConfigError, match=r"pip install 'jax3dgen\[pretrained\]'"):
    clip_tokens.load_tokenizers(folders)


@pytest.mark.parametrize('name', ['vocab.json', 'merges.txt', 'tokenizer_config.json'])
def test_damaged_folders_are_refused(tmp_path, name):
  published.tokenizer(tmp_path)
  (tmp_path / name).write_text('{"a": ')
  if name != 'merges.txt':
    with pytest.raises(WeightError, match='no tokenizer of CLIP'):
      clip_tokens.load_tokenizers([tmp_path])
  (tmp_path / name).write_bytes(b'version https://git-lfs.github.com/spec/v1\noid sha256:0')
  with pytest.raises(WeightError, match=f'{name} is a pointer of Git LFS'):
    clip_tokens.load_tokenizers([tmp_path])
  (tmp_path / name).unlink()
  with pytest.raises(WeightError, match=f'lacks {name}; a tokenizer'):
    clip_tokens.load_tokenizers([tmp_path])


def test_nothing_in_a_folder_is_executed(tmp_path):
  """The class is CLIP's, whatever code the folder names."""
  published.tokenizer(tmp_path)
  config = json.loads((tmp_path / 'tokenizer_config.json').read_text())
  config |= {'auto_map': {'AutoTokenizer': ['evil.Tokenizer', None]},
             'tokenizer_class': 'Tokenizer'}
  (tmp_path / 'tokenizer_config.json').write_text(json.dumps(config))
  (tmp_path / 'evil.py').write_text(
      f'open({str(tmp_path / "ran")!r}, "w")\nclass Tokenizer:\n  pass\n')
  clip_tokens.load_tokenizers([tmp_path])(['a'])
  assert not (tmp_path / 'ran').exists()

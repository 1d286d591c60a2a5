"""The tokenizers of CLIP from their published folders, by transformers."""

import os
import warnings

import numpy as np

from jax3dgen.core import hub
from jax3dgen.core.errors import ConfigError, WeightError

LENGTH = 77  # tokens of a prompt, its start and end included
WHOLE = 'tokenizer.json'  # all of a tokenizer but its roles; the files of APART are its older form
APART, ROLES = ('vocab.json', 'merges.txt'), 'tokenizer_config.json'
WORD_END = '</w>'  # how CLIP's byte pair encoding marks the last piece of a word


def load_tokenizers(folders):
  """tokenize(list of B texts) -> ids [B, E, LENGTH] int32 by the tokenizers of E folders.

  A folder holds tokenizer_config.json and either tokenizer.json, as transformers 5 writes it, or
  vocab.json and merges.txt. A text that is too long is truncated before its last comma, with a
  warning, so that a view phrase at its end stays. WeightError for a folder that is no tokenizer,
  ConfigError where transformers is missing.
  """
  tokenizers = [_open(folder) for folder in folders]

  def tokenize(texts):
    ids = [[_ids(tokenizer, text) for tokenizer in tokenizers] for text in texts]
    return np.array(ids, np.int32).reshape(len(texts), len(tokenizers), LENGTH)
  return tokenize


def missing(folder):
  """The names of the files that a folder lacks to be a tokenizer."""
  needed = (ROLES,) if (folder / WHOLE).is_file() else (*APART, ROLES)
  return [name for name in needed if not (folder / name).is_file()]


def _open(folder):
  os.environ.setdefault('TRANSFORMERS_NO_ADVISORY_WARNINGS', '1')  # that torch is missing
  try:
    from transformers import CLIPTokenizer
  except ImportError as error:
    raise ConfigError('Prompts for published weights need the extra pretrained: '
                      "pip install 'jax3dgen[pretrained]'.") from error
  folder = hub.resolve(folder)
  if names := missing(folder):
    raise WeightError(f'{folder} lacks {", ".join(names)}; a tokenizer is a folder of {ROLES} and '
                      f'either {WHOLE} or {" and ".join(APART)}.')
  for name in (*APART, ROLES, WHOLE):
    if (folder / name).is_file():
      hub.refuse_substitute(folder / name)
  if (folder / WHOLE).is_file():
    _check_kind(folder / WHOLE)
  try:
    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
  except Exception as error:  # its parser raises many classes
    raise WeightError(f'{folder} holds no tokenizer of CLIP ({str(error).splitlines()[0]}).'
                      ) from error


def _check_kind(path):
  """WeightError where a tokenizer.json is not of CLIP: transformers would read it all the same."""
  model = hub.read_json(path).get('model')
  model = model if isinstance(model, dict) else {}
  if (model.get('type') != 'BPE' or model.get('end_of_word_suffix') != WORD_END
      or not model.get('merges')):
    raise WeightError(f'{path.parent} holds no tokenizer of CLIP: the model in {path.name} is not '
                      f'the byte pair encoding of CLIP, with merges and {WORD_END}.')


def _ids(tokenizer, text):
  """[LENGTH] ids of one text: start, words, end, padding."""
  encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
  words, room = encode(text), LENGTH - 2
  if len(words) > room:
    warnings.warn(f'The prompt is longer than the {room} tokens that this prior reads; it is '
                  'truncated.', stacklevel=4)
    tail = encode(',' + text.rpartition(',')[2])[-room:] if ',' in text else []
    words = words[:room - len(tail)] + tail
  ids = [tokenizer.bos_token_id, *words, tokenizer.eos_token_id]
  return ids + [tokenizer.pad_token_id] * (LENGTH - len(ids))

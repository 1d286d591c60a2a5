"""The tokenizers of CLIP from their published folders, by transformers."""

import os
import warnings

import numpy as np

from jax3dgen.core.errors import ConfigError, WeightError

LENGTH = 77  # tokens of a prompt, its start and end included


def load_tokenizers(folders):
  """tokenize(list of B texts) -> ids [B, E, LENGTH] int32 by the tokenizers of E folders.

  A folder holds vocab.json, merges.txt and tokenizer_config.json. A text that is too long is
  truncated before its last comma, with a warning, so that a view phrase at its end stays.
  WeightError for a folder that is no tokenizer, ConfigError where transformers is missing.
  """
  tokenizers = [_open(folder) for folder in folders]

  def tokenize(texts):
    ids = [[_ids(tokenizer, text) for tokenizer in tokenizers] for text in texts]
    return np.array(ids, np.int32).reshape(len(texts), len(tokenizers), LENGTH)
  return tokenize


def _open(folder):
  os.environ.setdefault('TRANSFORMERS_NO_ADVISORY_WARNINGS', '1')  # that torch is missing
  try:
    from transformers import CLIPTokenizer
  except ImportError as error:
    raise ConfigError('Prompts for published weights need the extra pretrained: '
                      "pip install 'jax3dgen[pretrained]'.") from error
  missing = [name for name in ('vocab.json', 'merges.txt', 'tokenizer_config.json')
             if not (folder / name).is_file()]
  if missing:
    raise WeightError(f'{folder / missing[0]} is missing; a tokenizer is a folder of vocab.json, '
                      'merges.txt and tokenizer_config.json.')
  try:
    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
  except Exception as error:  # its parser raises many classes
    raise WeightError(f'{folder} holds no tokenizer of CLIP ({str(error).splitlines()[0]}).'
                      ) from error


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

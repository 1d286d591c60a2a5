"""The tokenizer of priors with a closed vocabulary: one token per word, 0 is padding."""

import difflib
import hashlib
import re
import unicodedata
import warnings

import numpy as np

from jax3dgen.core.errors import ConfigError

# word -> its synonym; used only where the synonym is in the vocabulary
SYNONYMS = {
    'grey': 'gray', 'silver': 'gray', 'violet': 'purple', 'crimson': 'red', 'scarlet': 'red',
    'golden': 'yellow', 'bunny': 'rabbit', 'teddy': 'bear', 'automobile': 'car',
    'spaceship': 'rocket', 'an': 'a', 'the': 'a', 'one': 'a', 'wears': 'wearing',
    'picture': 'image', 'photograph': 'photo', 'rendering': 'render', 'figure': 'figurine',
    'statue': 'figurine', 'rear': 'back', 'behind': 'back', 'frontal': 'front',
    'overhead': 'above', 'top': 'above', 'blurred': 'blurry', 'grainy': 'noisy',
    'pixellated': 'pixelated', 'saturated': 'oversaturated', 'hazy': 'foggy', 'misty': 'foggy',
    'crisp': 'sharp',
}
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~\s]+")  # ASCII punctuation and white space
_LISTED = 5  # unknown words in the message


def split(text):
  """The words of a text: lower case, compatibility characters folded, ASCII punctuation dropped.

  Other characters (emoji, control characters) stay words, so that they raise an error instead of
  being dropped.
  """
  return [w for w in _PUNCTUATION.split(unicodedata.normalize('NFKC', text).lower()) if w]


def with_synonyms(text):
  """The set of the words of a text and their synonyms."""
  words = split(text)
  return {*words, *(SYNONYMS.get(word, word) for word in words)}


def tokenize(texts, words, length):
  """Token ids int32 [B, length] of B texts; `words` lists the vocabulary and words[0] pads.

  The empty text is all padding. A text of more words is truncated before its last comma, with a
  warning, so that a view phrase at its end stays. ConfigError for unknown words, with similar words
  and the vocabulary.
  """
  index = {word: i for i, word in enumerate(words) if i}
  index |= {word: index[same] for word, same in SYNONYMS.items()
            if same in index and word not in index}
  tokens = np.zeros((len(texts), length), np.int32)
  for row, text in zip(tokens, texts, strict=True):
    text_words = split(text)
    unknown = list(dict.fromkeys(word for word in text_words if word not in index))
    if unknown:
      raise ConfigError(_complaint(unknown, index, words))
    if len(text_words) > length:
      warnings.warn(f'The prompt is longer than the {length} words that this prior reads; it is '
                    'truncated.', stacklevel=2)
      tail = split(text.rpartition(',')[2])[-length:] if ',' in text else []
      text_words = text_words[:length - len(tail)] + tail
    ids = [index[word] for word in text_words]
    row[:len(ids)] = ids
  return tokens


def _complaint(unknown, index, words):
  """A sentence about unknown words, of bounded length and without control characters."""
  parts = []
  for word in unknown[:_LISTED]:
    near = difflib.get_close_matches(word[:40], index, 3)
    close = list(dict.fromkeys(words[index[w]] for w in near))
    hint = f' (did you mean {" or ".join(close)}?)' if close else ''
    parts.append(ascii(word[:40]) + hint)
  more = f' and {len(unknown) - _LISTED} more' if len(unknown) > _LISTED else ''
  plural = 's' if len(unknown) > 1 else ''
  return (f'This prior does not know the word{plural} {", ".join(parts)}{more}; '
          f'it knows: {", ".join(sorted(w for w in words if w))}.')


def slug(prompt):
  """A file name for a prompt: at most 40 characters of [a-z0-9-], and a hash that distinguishes
  prompts with the same letters."""
  readable = re.sub('[^a-z0-9]+', '-', prompt.lower()).strip('-')[:40].strip('-')
  digest = hashlib.sha256(prompt.encode('utf-8', 'surrogatepass')).hexdigest()[:8]
  return f'{readable}-{digest}' if readable else digest

"""The tokenizer of priors with a closed vocabulary: one token per known word, 0 is padding."""

import difflib
import hashlib
import re
import unicodedata
import warnings

import numpy as np

from jax3dgen.core.errors import ConfigError

# Words that mean the same as a known one; used only where the right side is in the vocabulary.
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
_SHOWN = 5  # unknown words named in the message


def split(text):
  """The words of a text: lower case, compatibility characters folded, ASCII punctuation dropped.

  Whatever else stands there (emoji, control characters) stays a word, so that it is refused and
  not silently lost.
  """
  return [w for w in _PUNCTUATION.split(unicodedata.normalize('NFKC', text).lower()) if w]


def meant(text):
  """The set of the words of a text and of what they are synonyms of."""
  found = split(text)
  return {*found, *(SYNONYMS.get(word, word) for word in found)}


def tokenize(texts, words, length):
  """Token ids int32 [B, length] of B texts; `words` lists the vocabulary and words[0] pads.

  The empty text is all padding. Of a longer text the last words before its last comma are left out,
  with a warning, so that a view phrase at its end stays. Unknown words raise ConfigError, which
  names them, the closest known ones and all the others.
  """
  index = {word: i for i, word in enumerate(words) if i}
  index |= {word: index[same] for word, same in SYNONYMS.items()
            if same in index and word not in index}
  tokens = np.zeros((len(texts), length), np.int32)
  for row, text in zip(tokens, texts, strict=True):
    found = split(text)
    unknown = list(dict.fromkeys(word for word in found if word not in index))
    if unknown:
      raise ConfigError(_complaint(unknown, index, words))
    if len(found) > length:
      warnings.warn(f'The prompt is longer than the {length} words that this prior reads; those '
                    'that are too many are left out.', stacklevel=2)
      tail = split(text.rpartition(',')[2])[-length:] if ',' in text else []
      found = found[:length - len(tail)] + tail
    ids = [index[word] for word in found]
    row[:len(ids)] = ids
  return tokens


def _complaint(unknown, index, words):
  """One clear sentence about unknown words, of bounded length and without control characters."""
  named = []
  for word in unknown[:_SHOWN]:
    near = difflib.get_close_matches(word[:40], index, 3)
    close = list(dict.fromkeys(words[index[w]] for w in near))
    hint = f' (did you mean {" or ".join(close)}?)' if close else ''
    named.append(ascii(word[:40]) + hint)
  more = f' and {len(unknown) - _SHOWN} more' if len(unknown) > _SHOWN else ''
  plural = 's' if len(unknown) > 1 else ''
  return (f'This prior does not know the word{plural} {", ".join(named)}{more}; '
          f'it knows: {", ".join(sorted(w for w in words if w))}.')


def slug(prompt):
  """A file name for a prompt: at most 40 characters of [a-z0-9-], and a hash that tells prompts
  with the same letters apart."""
  readable = re.sub('[^a-z0-9]+', '-', prompt.lower()).strip('-')[:40].strip('-')
  digest = hashlib.sha256(prompt.encode('utf-8', 'surrogatepass')).hexdigest()[:8]
  return f'{readable}-{digest}' if readable else digest

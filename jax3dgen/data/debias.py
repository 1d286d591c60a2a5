"""Prompt debiasing (Hong et al. 2023): words that contradict a view are removed from its prompt.

'a smiling bear, back view' describes a face at the back. A word stays in the prompt of a view if
the view is about as likely with it as without: p_with / ((p_with + p_without) / 2) >= THRESHOLD.
The probabilities of views come from a word list or a masked language model (`language_model`).

The paper removes single words; here a word takes with it what cannot stand without it (`candidates`
below): of 'a bear with a black eye' the back keeps 'a bear', not 'a bear with a black'.
"""

import re

from jax3dgen.core.errors import ConfigError

THRESHOLD = 0.95
VIEWS = ('front', 'side', 'back', 'overhead')

# Words and phrases that imply one view.
PHRASES = {
    'front': ('front view', 'from the front', 'frontal', 'face', 'facing', 'portrait', 'headshot',
              'selfie', 'smile', 'smiling', 'grin', 'grinning', 'frowning', 'laughing', 'winking',
              'eye', 'eyes', 'nose', 'mouth', 'lips', 'beak', 'snout', 'looking at the camera',
              'looking at you', 'staring', 'bust'),
    'side': ('side view', 'from the side', 'profile', 'sideways'),
    'back': ('back view', 'rear view', 'from behind', 'from the back', 'facing away', 'backside',
             'tail', 'backpack'),
    'overhead': ('overhead view', 'top view', 'from above', 'top down', "bird's eye view"),
}


# Words that begin a phrase about what stands before them, and words that stand before a noun.
JOINS = ('with', 'without', 'wearing', 'holding', 'carrying', 'having', 'showing', 'and', 'or',
         'on', 'in', 'of', 'at', 'from', 'to', 'under', 'over', 'behind', 'by', 'near', 'for')
DETERMINERS = ('a', 'an', 'the', 'its', 'his', 'her', 'their', 'one', 'two', 'some')


def word_list(texts):
  """Probabilities [len(texts), 4] of VIEWS, by the number of PHRASES of each view in the text.

  A phrase within a longer one does not count: 'facing away' is not 'facing'.
  """
  counts = []
  for text in texts:
    phrases = within(text)
    counts.append([1.0 + sum(phrase in PHRASES[view] for phrase in phrases) for view in VIEWS])
  return [[count / sum(row) for count in row] for row in counts]


def within(text):
  """The PHRASES in the text, the longest first, without those within longer ones."""
  phrases = []
  for phrase in sorted({p for group in PHRASES.values() for p in group}, key=len, reverse=True):
    if _has(text, phrase):
      phrases.append(phrase)
      text = re.sub(_pattern(phrase), ',', text, flags=re.IGNORECASE)
  return phrases


def candidates(text):
  """What may be removed from the text: the PHRASES of several words in it, and for each other word
  the word alone or, where it is the noun of a phrase, the phrase ('with a black eye')."""
  phrases = [phrase for phrase in within(text) if ' ' in phrase]
  pieces = dict.fromkeys(phrases)
  for i, part in enumerate(without(text, phrases).split(',')):
    chunks = re.split(rf'\s+(?=(?:{"|".join(JOINS)})\s)', part.strip(), flags=re.IGNORECASE)
    for j, chunk in enumerate(chunks):
      words = re.findall(r"[\w'-]+", chunk)
      content = [word for word in words if word.lower() not in (*JOINS, *DETERMINERS)]
      subject = i == j == 0 and len(content) > 1  # 'a zombie bust' may lose its last word alone
      for word in content:
        pieces[word if subject or word != content[-1] else ' '.join(words)] = None
  return [*pieces]


def by_view(text, score=word_list):
  """{view: the text without the words that contradict the view}; the whole text where none would be
  left. `score(texts)` -> probabilities [len(texts), 4] of VIEWS."""
  words = candidates(text)
  whole, *others = score([text, *(without(text, [word]) for word in words)])
  texts = {}
  for i, view in enumerate(VIEWS):
    against = [word for word, other in zip(words, others, strict=True)
               if whole[i] < THRESHOLD * 0.5 * (whole[i] + other[i])]
    texts[view] = without(text, against) or text
  return texts


def without(text, phrases):
  """The text without the words or phrases `phrases`, and the commas and the leading joining words
  that they leave."""
  for phrase in sorted(phrases, key=len, reverse=True):
    text = re.sub(_pattern(phrase), '', text, flags=re.IGNORECASE)
  parts = (' '.join(part.split()) for part in text.split(','))
  text = ', '.join(part for part in parts if part)
  return re.sub(rf'^(?:{"|".join(JOINS)})\s+', '', text, flags=re.IGNORECASE) if phrases else text


def _pattern(phrase):
  words = r'\s+'.join(map(re.escape, phrase.split()))
  return rf"(?<![\w'-]){words}(?![\w'-])"


def _has(text, phrase):
  return bool(re.search(_pattern(phrase), text, re.IGNORECASE))


def scorer(name):
  """The `score` of `by_view`: None for '', `word_list` for 'words', else the `language_model` in
  the folder `name`. ConfigError where that is not available."""
  return {'': None, 'words': word_list}[name] if name in ('', 'words') else language_model(name)


def language_model(folder):
  """A scorer by a masked language model (BERT, in safetensors) that predicts the view's word."""
  try:
    import transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModelForMaskedLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True).eval()
  except ImportError as e:  # of transformers, or of the torch that it runs on
    raise ConfigError('config.debias.prompt: a masked language model needs the extras pretrained '
                      "and convert: pip install 'jax3dgen[pretrained,convert]'.") from e
  except (OSError, ValueError) as e:
    raise ConfigError(f"config.debias.prompt={folder!r} is neither '', 'words' nor a folder with a "
                      'masked language model in safetensors.') from e
  views = tokenizer.convert_tokens_to_ids(list(VIEWS))

  def score(texts):
    sentences = [f'{text}, seen in a {tokenizer.mask_token} view.' for text in texts]
    batch = tokenizer(sentences, return_tensors='pt', padding=True)
    logits = model(**batch).logits.detach()[batch['input_ids'] == tokenizer.mask_token_id]
    return logits[:, views].softmax(-1).tolist()
  return score

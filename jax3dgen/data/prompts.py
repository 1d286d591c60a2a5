"""View phrases and degradation words, view-dependent prompts, prompt files and shipped prompts.

Captions of the figurines (`captions`) and view-dependent prompts use the same phrases.
"""

import csv
from importlib import resources
import pathlib
from typing import NamedTuple

from jax3dgen.core.errors import ConfigError
from jax3dgen.prior import words

VIEW_PHRASES = ('', 'front view', 'side view', 'back view', 'from above')
DEGRADATIONS = ('', 'blurry', 'noisy', 'pixelated', 'oversaturated', 'foggy')
NEGATIVE = ', '.join(DEGRADATIONS[1:])


class Listed(NamedTuple):
  """A prompt of a list: its name, its text, the auxiliary phrases of the run's prior (as in
  config.auxiliary) and the poses that its classifier distinguishes (as in config.distill.poses)."""
  name: str
  prompt: str
  auxiliary: str
  poses: str


def view_prompts(prompt, by_view=None):
  """The texts of the first rows of `core.types.Prompt` by name: the prompt, its view-dependent
  forms, and the empty prompt of classifier-free guidance. `by_view` has another text for each view
  (see `data.debias`). ConfigError for a prompt without words."""
  if not words.split(prompt):
    raise ConfigError("The prompt is empty; it must name an object, for example 'a red bear'.")
  text_of = lambda view: by_view[view] if by_view else prompt
  views = {view: f'{text_of(view)}, {phrase}'
           for view, phrase in zip(('front', 'side', 'back', 'overhead'), VIEW_PHRASES[1:],
                                   strict=True)}
  return {'main': prompt, **views, 'null': ''}


def read(path, option):
  """The prompts of a text file, one in each line that is not blank; ConfigError, which names the
  `option` that the file was given by, where there are none."""
  try:
    lines = pathlib.Path(path).read_text(encoding='utf-8').splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise ConfigError(f'{option}={path} cannot be read as text ({error}).') from error
  prompts = [line.strip() for line in lines if line.strip()]
  if not prompts:
    raise ConfigError(f'{option}={path} holds no prompt.')
  return prompts


def recdreamer():
  """RecDreamer's 22 prompts, [Listed].

  The texts are those of the paper's Table 7, without the dots at their ends. Auxiliary phrases and
  poses are those of the authors' code (classifier_configs.json): the paper gives all prompts the
  phrases "from side view, from back view", and the code four of them only one of the two. Where the
  code has three templates it leaves out the front or the back, with two it has a side and its
  mirror image.
  """
  path = resources.files('jax3dgen') / 'assets' / 'prompts' / 'recdreamer.csv'
  return [Listed(**row) for row in csv.DictReader(path.read_text(encoding='utf-8').splitlines())]

"""View-dependent prompts."""

import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Prompt
from jax3dgen.data import figurine_examples, prompts
from jax3dgen.prior import words


def test_view_prompts_are_the_fields_of_a_prompt_in_known_words():
  made = prompts.view_prompts('a red bear with a hat')
  Prompt(**made)
  assert made['main'] == 'a red bear with a hat' and made['null'] == ''
  assert made['side'] == 'a red bear with a hat, side view'
  assert made['overhead'] == 'a red bear with a hat, from above'
  tokens = words.tokenize(list(made.values()), figurine_examples.words(), figurine_examples.LENGTH)
  assert len({tuple(row) for row in tokens}) == len(made)


@pytest.mark.parametrize('empty', ['', '   ', '\n', '../', '"."', '<>'])
def test_prompt_without_words_is_refused(empty):
  with pytest.raises(ConfigError, match='empty'):
    prompts.view_prompts(empty)

"""View-dependent prompts."""

import collections

import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Prompt
from jax3dgen.data import figurine_examples, prompts
from jax3dgen.distill import base
from jax3dgen.prior import words


def test_view_prompts_are_the_fields_of_a_prompt_in_known_words():
  texts = prompts.view_prompts('a red bear with a hat')
  Prompt(**texts, negative=None, source=None)
  assert base.FLAWS == prompts.NEGATIVE
  assert texts['main'] == 'a red bear with a hat' and texts['null'] == ''
  assert texts['side'] == 'a red bear with a hat, side view'
  assert texts['overhead'] == 'a red bear with a hat, from above'
  tokens = words.tokenize(list(texts.values()), figurine_examples.words(), figurine_examples.LENGTH)
  assert len({tuple(row) for row in tokens}) == len(texts)


@pytest.mark.parametrize('empty', ['', '   ', '\n', '../', '"."', '<>'])
def test_prompt_without_words_is_refused(empty):
  with pytest.raises(ConfigError, match='empty'):
    prompts.view_prompts(empty)


def test_a_file_of_prompts(tmp_path):
  path = tmp_path / 'prompts.txt'
  path.write_text('a red bear\n\n  a blue car \n')
  assert prompts.read(path, '--prompts') == ['a red bear', 'a blue car']
  path.write_text('\n')
  with pytest.raises(ConfigError, match='--prompts=.*holds no prompt'):
    prompts.read(path, '--prompts')
  with pytest.raises(ConfigError, match='cannot be read as text'):
    prompts.read(tmp_path / 'none.txt', '--prompts')


def test_recdreamer_s_prompts_are_shipped():
  shipped = {listed.name: listed for listed in prompts.recdreamer()}
  assert len(shipped) == 22 == len({listed.prompt for listed in shipped.values()})
  counts = collections.Counter(len(listed.poses.split()) for listed in shipped.values())
  assert counts == {4: 18, 3: 2, 2: 2}  # of the authors' code
  assert {listed.auxiliary for listed in shipped.values()} == {
      'from side view, from back view', 'from back view', 'from side view'}
  assert shipped['camera'] == ('camera', 'DSLR Camera, photography, dslr, camera, noobie, '
                               'box-modeling, maya', 'from side view, from back view',
                               'front left back right')
  assert shipped['motorcycle'][2:] == ('from back view', 'left back right')

"""Modules and functions by name."""

import sys

import pytest

from jax3dgen.core import modules
from jax3dgen.core.errors import ConfigError
from jax3dgen.prior import embedded


def test_find_prefers_own_modules_and_names_the_field():
  assert modules.find('jax3dgen.prior', 'embedded', 'config.prior.name') is embedded
  for name in ('nothing', ''):
    with pytest.raises(ConfigError, match=f"config.prior.name='{name}'"):
      modules.find('jax3dgen.prior', name, 'config.prior.name')
  with pytest.raises(ConfigError, match='has no classify'):
    modules.find('jax3dgen.prior', 'embedded', 'config.x', 'classify')


def test_a_function_is_found_by_name(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'my_judge_of_tests.py').write_text('NUMBER = 3\ndef score(x):\n  return x + 1\n')
  assert modules.function('my_judge_of_tests:score', 'config.a')(1) == 2
  for text, word in (('my_judge_of_tests', 'module:function'), (':score', 'module:function'),
                     ('my_judge_of_tests:scores', 'no function scores'),
                     ('my_judge_of_tests:NUMBER', 'no function NUMBER'),
                     ('no_such_module_at_all:f', 'no module')):
    with pytest.raises(ConfigError, match=word) as error:
      modules.function(text, 'config.a')
    assert str(error.value).startswith('config.a=')
  sys.modules.pop('my_judge_of_tests')


def test_what_a_module_itself_lacks_is_not_hidden(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'broken_judge_of_tests.py').write_text('import a_module_that_is_not_there\n')
  with pytest.raises(ModuleNotFoundError, match='a_module_that_is_not_there'):
    modules.function('broken_judge_of_tests:score', 'config.a')

"""Checks of single fields of a config."""

from ml_collections import ConfigDict
import pytest

from jax3dgen.core import settings
from jax3dgen.core.errors import ConfigError

CONFIG = ConfigDict({'name': 'a', 'optim': {'rate': 0.5, 'steps': 3}})


def test_valid_fields_pass():
  settings.check(CONFIG, {'name': ('a', 'b')}, {'optim.steps': 3}, ('optim.rate',))
  assert settings.value(CONFIG, 'optim.steps') == 3


@pytest.mark.parametrize('rules, words', [
    ({'choices': {'name': ('b', 'c')}}, "config.name='a': it is one of b, c"),
    ({'at_least': {'optim.steps': 4}}, 'config.optim.steps=3 is not 4 or more'),
    ({'at_least': {'optim.rate': float('nan')}}, 'config.optim.rate'),
    ({'positive': ('optim.rate',)}, 'config.optim.rate=inf must be positive')])
def test_the_first_invalid_field_is_named(rules, words):
  config = CONFIG.copy_and_resolve_references()
  if 'positive' in rules:
    config.optim.rate = float('inf')
  with pytest.raises(ConfigError, match=words):
    settings.check(config, **rules)

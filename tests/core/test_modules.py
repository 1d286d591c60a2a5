"""Modules by name."""

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

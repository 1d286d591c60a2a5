"""The configs of single objectives: their settings pass the checks."""

import pathlib

import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from experiments import _config
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.distill import step as scene_step

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = [name for name in base.objectives() if (ROOT / 'configs' / f'{name}.py').exists()]


@pytest.mark.parametrize('name', NAMES)
def test_settings_of_the_paper_and_of_the_embedded_prior_pass_the_checks(name):
  path = ROOT / 'configs' / f'{name}.py'
  for variant in ('', ':embedded', ':tiny'):
    config = distill.complete(_config.load(f'{path}{variant}')[1])
    distill_config.check(config)
    assert config.distill.name == name
    assert config.prior.name == ('embedded' if variant else 'latent')


def test_unknown_variant_is_refused():
  with pytest.raises(ConfigError, match='embedded and tiny'):
    _config.load(str(ROOT / 'configs' / 'usd.py:huge'))


def test_sizes_of_views_follow_their_stages():
  config = _config.load(str(ROOT / 'configs' / 'vsd.py'))[1]
  cfg = FrozenConfigDict(distill.complete(config))
  assert [scene_step.stage_at(cfg, i).size for i in (0, 4999, 5000, 25_000)] == [64, 64, 512, 512]
  for bad in (0, (), ((5, 64),), ((0, 64), (0, 32)), ((0, 64, 3),), (64, 32), ((0, 6.5),)):
    config.render.size = bad
    with pytest.raises(ConfigError, match='config.render.size'):
      distill_config.check(distill.complete(config))


def test_phases_that_do_not_divide_the_steps_are_refused():
  config = _config.load(str(ROOT / 'configs' / 'usd.py'))[1]
  config.timestep.phases = 7
  with pytest.raises(ConfigError, match='15000 cannot be divided into 14 equal phases'):
    distill_config.check(distill.complete(config))


def test_a_dtype_is_stored_by_its_name():
  config = distill_config.default_config()
  for value in (jnp.bfloat16, 'bf16', np.dtype('bfloat16')):
    config.prior.dtype = value
    assert config.prior.dtype == 'bfloat16'
    assert distill.complete(config).to_dict()['prior']['dtype'] == 'bfloat16'
  changed = _config.override(distill_config.default_config(), [('prior.dtype', 'fp32')])
  assert changed.prior.dtype == 'float32'
  config.prior.dtype = None
  assert config.prior.dtype is None
  with pytest.raises(ConfigError, match="'int4' is no floating dtype"):
    config.prior.dtype = 'int4'

"""Configs of runs in stages."""

import pytest

from configs import prolificdreamer, recdreamer
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.refine import config as settings


@pytest.mark.parametrize('module, last', [(prolificdreamer, 'vsd'), (recdreamer, 'usd')])
@pytest.mark.parametrize('variant', ['', 'embedded', 'tiny'])
def test_every_stage_is_a_complete_run(module, last, variant):
  config = module.get_config(variant)
  settings.check(config)
  stages = {stage: settings.of_stage(config, stage) for stage in settings.STAGES}
  for c in stages.values():
    distill_config.check(c)
    assert c.prompt == config.prompt and c.prior.name == config.prior.name
  assert [c.distill.name for c in stages.values()] == [last, 'sds', last]
  assert 'mesh' in stages['geometry'] and 'mesh' not in stages['texture']
  assert stages['field'].train.steps == config.train.steps


def test_values_of_the_papers():
  config = recdreamer.get_config()
  geometry, texture = (settings.of_stage(config, s) for s in ('geometry', 'texture'))
  assert (geometry.distill.guidance, texture.distill.guidance) == (100.0, 7.5)
  assert (geometry.timestep.max, texture.timestep.max) == (0.5, 0.5)
  assert (geometry.train.steps, texture.train.steps) == (15_000, 15_000)
  assert (geometry.mesh.resolution, geometry.mesh.normal_consistency) == (256, 5000.0)
  assert geometry.camera.distance == (1.0, 1.5)  # the field's


def test_the_field_alone_is_a_distillation_run():
  config = prolificdreamer.get_config('tiny')
  config.stages = ('field',)
  settings.check(config)
  plain = settings.of_stage(config, 'field')
  assert not {'stages', 'geometry', 'texture'} & set(plain)


@pytest.mark.parametrize('field, value, sentence', [
    ('stages', ('geometry',), 'the first one, two or three'), ('stages', (), 'the first one'),
    ('geometry.mesh.shown', 'depth', 'there are normals, colors'),
    ('geometry.mesh.slack', 0.5, 'slack must be 1 or more'),
    ('train.particles', 2, 'one particle')])
def test_invalid_settings_are_one_sentence(field, value, sentence):
  config = prolificdreamer.get_config('tiny')
  config.update_from_flattened_dict({field: value})
  with pytest.raises(ConfigError, match=sentence):
    settings.check(config)

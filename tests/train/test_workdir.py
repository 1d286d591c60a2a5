"""Workdirs: one process and one config at a time."""

import json

import jax
from ml_collections import ConfigDict
import pytest

from jax3dgen.core import errors
from jax3dgen.train import workdir as workdirs
from tests import processes


def config(**changes):
  c = ConfigDict({'seed': 0, 'train': {'steps': 10, 'batch': 4, 'rates': (('a', 0.1),)},
                  'log': {'every': 5}, 'checkpoint': {'every': 5}})
  for name, value in changes.items():
    c.update_from_flattened_dict({name.replace('__', '.'): value})
  return c


def test_second_lock_is_refused_and_the_first_released(tmp_path):
  with workdirs.lock(tmp_path / 'new'):
    with pytest.raises(errors.CheckpointError, match='Another process is using'):
      with workdirs.lock(tmp_path / 'new'):
        pass
  with workdirs.lock(tmp_path / 'new'):
    pass


def test_second_process_is_refused(tmp_path):
  with workdirs.lock(tmp_path):
    (status, output), = processes.finish(processes.start('tests.fakes.regression_run', tmp_path, 2))
  assert status == 2 and output.startswith('Another process is using'), output
  assert not (tmp_path / 'config.json').exists()


def test_workdir_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(errors.ConfigError, match='cannot be written: Not a directory'):
    with workdirs.lock(tmp_path / 'file' / 'run'):
      pass


def test_first_config_is_written(tmp_path):
  workdirs.check_config(tmp_path, config())
  written = json.loads((tmp_path / 'config.json').read_text())
  assert written['train'] == {'steps': 10, 'batch': 4, 'rates': [['a', 0.1]]}
  assert written['devices'] == jax.device_count()
  workdirs.check_config(tmp_path, config())


def test_steps_may_grow_and_intervals_change(tmp_path):
  workdirs.check_config(tmp_path, config())
  workdirs.check_config(tmp_path, config(train__steps=20, log__every=1, checkpoint__every=2))
  assert json.loads((tmp_path / 'config.json').read_text())['train']['steps'] == 20
  with pytest.raises(errors.ConfigError, match='train.steps +20 +10'):
    workdirs.check_config(tmp_path, config())


def test_other_changes_are_refused_with_a_table(tmp_path, capsys):
  workdirs.check_config(tmp_path, config())
  before = (tmp_path / 'config.json').read_text()
  other = config(seed=1)
  other.prompt = 'a bear'
  with pytest.raises(errors.ConfigError) as caught:
    workdirs.check_config(tmp_path, other)
  lines = str(caught.value).splitlines()
  assert '--allow_change' in lines[0]
  assert [line.split() for line in lines[1:]] == [
      ['field', 'was', 'is', 'now'], ['prompt', 'absent', "'a", "bear'"], ['seed', '0', '1']]
  assert (tmp_path / 'config.json').read_text() == before
  workdirs.check_config(tmp_path, other, allow_change=True)
  assert 'seed' in capsys.readouterr().out
  workdirs.check_config(tmp_path, other)


def test_another_number_of_devices(tmp_path, monkeypatch, capsys):
  workdirs.check_config(tmp_path, config())
  monkeypatch.setattr(workdirs.parallel, 'device_count', lambda: 1)
  with pytest.raises(errors.ConfigError, match=f'devices +{jax.device_count()} +1'):
    workdirs.check_config(tmp_path, config())
  workdirs.check_config(tmp_path, config(), allow_change=True)
  assert 'later noise differs' in capsys.readouterr().out


def test_damaged_config(tmp_path):
  (tmp_path / 'config.json').write_text('{"seed"')
  with pytest.raises(errors.ConfigError, match='damaged'):
    workdirs.check_config(tmp_path, config())
  workdirs.check_config(tmp_path, config(), allow_change=True)
  workdirs.check_config(tmp_path, config())


def test_another_config_is_refused_before_anything_is_written(tmp_path):
  workdirs.refuse_other_config(tmp_path / 'new', config())
  assert not (tmp_path / 'new').exists()
  workdirs.check_config(tmp_path, config())
  workdirs.refuse_other_config(tmp_path, config(train__steps=20))
  with pytest.raises(errors.ConfigError, match='seed +0 +1'):
    workdirs.refuse_other_config(tmp_path, config(seed=1))
  (tmp_path / 'file').write_text('')
  with pytest.raises(errors.ConfigError, match='cannot be written: Not a directory'):
    workdirs.refuse_other_config(tmp_path / 'file', config())
  with workdirs.lock(tmp_path), pytest.raises(errors.CheckpointError, match='Another process'):
    workdirs.refuse_other_config(tmp_path, config(seed=1))

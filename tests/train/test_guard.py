"""Locks, configs, signals and memory."""

import json
import os
import signal
import threading

import jax
from ml_collections import ConfigDict
import pytest

from jax3dgen.core import errors, parallel
from jax3dgen.train import guard
from tests import processes


def config(**changes):
  c = ConfigDict({'seed': 0, 'train': {'steps': 10, 'batch': 4, 'rates': (('a', 0.1),)},
                  'log': {'every': 5}, 'checkpoint': {'every': 5}})
  for name, value in changes.items():
    c.update_from_flattened_dict({name.replace('__', '.'): value})
  return c


def test_second_lock_is_refused_and_the_first_released(tmp_path):
  with guard.lock(tmp_path / 'new'):
    with pytest.raises(errors.CheckpointError, match='Another process is using'):
      with guard.lock(tmp_path / 'new'):
        pass
  with guard.lock(tmp_path / 'new'):
    pass


def test_second_process_is_refused(tmp_path):
  with guard.lock(tmp_path):
    (status, output), = processes.finish(processes.start('tests.train.toy', tmp_path, 2))
  assert status == 2 and output.startswith('Another process is using'), output
  assert not (tmp_path / 'config.json').exists()


def test_workdir_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(errors.ConfigError, match='cannot be written: Not a directory'):
    with guard.lock(tmp_path / 'file' / 'run'):
      pass


def test_first_config_is_written(tmp_path):
  guard.check_config(tmp_path, config())
  written = json.loads((tmp_path / 'config.json').read_text())
  assert written['train'] == {'steps': 10, 'batch': 4, 'rates': [['a', 0.1]]}
  assert written['devices'] == jax.device_count()
  guard.check_config(tmp_path, config())


def test_steps_may_grow_and_intervals_change(tmp_path):
  guard.check_config(tmp_path, config())
  guard.check_config(tmp_path, config(train__steps=20, log__every=1, checkpoint__every=2))
  assert json.loads((tmp_path / 'config.json').read_text())['train']['steps'] == 20
  with pytest.raises(errors.ConfigError, match='train.steps +20 +10'):
    guard.check_config(tmp_path, config())


def test_other_changes_are_refused_with_a_table(tmp_path, capsys):
  guard.check_config(tmp_path, config())
  before = (tmp_path / 'config.json').read_text()
  other = config(seed=1)
  other.prompt = 'a bear'
  with pytest.raises(errors.ConfigError) as caught:
    guard.check_config(tmp_path, other)
  lines = str(caught.value).splitlines()
  assert '--allow_change' in lines[0]
  assert [line.split() for line in lines[1:]] == [
      ['field', 'was', 'is', 'now'], ['prompt', 'absent', "'a", "bear'"], ['seed', '0', '1']]
  assert (tmp_path / 'config.json').read_text() == before
  guard.check_config(tmp_path, other, allow_change=True)
  assert 'seed' in capsys.readouterr().out
  guard.check_config(tmp_path, other)


def test_another_number_of_devices(tmp_path, monkeypatch, capsys):
  guard.check_config(tmp_path, config())
  monkeypatch.setattr(guard.parallel, 'device_count', lambda: 1)
  with pytest.raises(errors.ConfigError, match=f'devices +{jax.device_count()} +1'):
    guard.check_config(tmp_path, config())
  guard.check_config(tmp_path, config(), allow_change=True)
  assert 'later noise differs' in capsys.readouterr().out


def test_damaged_config(tmp_path):
  (tmp_path / 'config.json').write_text('{"seed"')
  with pytest.raises(errors.ConfigError, match='damaged'):
    guard.check_config(tmp_path, config())
  guard.check_config(tmp_path, config(), allow_change=True)
  guard.check_config(tmp_path, config())


@pytest.mark.parametrize('number,status', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_set_a_flag(number, status):
  before = signal.getsignal(number)
  with guard.Preemption() as preemption:
    assert not preemption.requested(1)
    os.kill(os.getpid(), number)
    assert preemption.requested(2) and preemption.status == status
  assert signal.getsignal(number) == before


def test_a_second_interrupt_interrupts():
  with pytest.raises(KeyboardInterrupt), guard.Preemption():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)


def test_preemption_in_a_thread_leaves_signals_alone():
  seen = []

  def work():
    with guard.Preemption() as preemption:
      seen.append(preemption.requested(1))
  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert seen == [False]


def test_memory_is_estimated_and_refused(capsys):
  # Case 20.
  assert 2**26 < guard.free_memory() < 2**45
  cost = parallel.Cost({'field': 2**28, 'opt': 2**29}, 2**30, 2**29, 0.0)
  guard.check_memory(cost)
  said = capsys.readouterr().out
  assert 'One step needs 0.50 GiB' in said and '1.00 GiB of fixed parameters' in said
  with pytest.raises(errors.ConfigError, match='needs 3.00 GiB .* 1.00 GiB are free.*train.batch'):
    guard.check_memory(cost._replace(beside=3 * 2**30), free=2**30)


def exhausted(*_):
  raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.')


def other(*_):
  raise jax.errors.JaxRuntimeError('INTERNAL: something else')


def test_exhausted_memory_is_a_sentence():
  # Case 20.
  with pytest.raises(errors.ConfigError, match='train.batch'), guard.memory_errors():
    exhausted()
  with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'), guard.memory_errors():
    other()


def test_chunk_is_halved_once(capsys):
  # Case 20.
  tried = []

  def work(limit):
    def function(chunk):
      tried.append(chunk)
      return chunk if chunk <= limit else exhausted()
    return function
  assert guard.halve_once(work(8), 8) == 8
  assert guard.halve_once(work(4), 8) == 4 and 'trying 4' in capsys.readouterr().out
  tried.clear()
  with pytest.raises(errors.ConfigError):
    guard.halve_once(work(1), 8)
  assert tried == [8, 4]
  with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'):
    guard.halve_once(other, 8)

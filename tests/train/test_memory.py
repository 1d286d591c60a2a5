"""The memory check before a run, and errors where memory ends."""

import jax
import pytest

from jax3dgen.core import errors, parallel
from jax3dgen.train import memory


def test_memory_is_estimated_and_refused(capsys):
  # A step that does not fit is refused before the first one.
  assert 2**26 < memory.free_memory() < 2**45
  cost = parallel.Cost({'field': 2**28, 'opt': 2**29}, 2**30, 2**29, 0.0)
  memory.check_memory(cost)
  output = capsys.readouterr().out
  assert 'One step needs 0.50 GiB' in output and '1.00 GiB of fixed parameters' in output
  with pytest.raises(errors.ConfigError, match='needs 3.00 GiB .* 1.00 GiB are free.*train.batch'):
    memory.check_memory(cost._replace(beside=3 * 2**30), free=2**30)


def test_unknown_memory_is_no_limit(monkeypatch, capsys):
  monkeypatch.setattr(memory.machine, 'free_memory', lambda: None)
  assert memory.free_memory() is None
  memory.check_memory(parallel.Cost({'field': 2**28}, 2**30, 2**50, 0.0))
  assert 'unknown memory is free' in capsys.readouterr().out


def exhausted(*_):
  raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.')


def other(*_):
  raise jax.errors.JaxRuntimeError('INTERNAL: something else')


def test_exhausted_memory_is_a_config_error():
  # RESOURCE_EXHAUSTED becomes a ConfigError, and no other error does.
  with pytest.raises(errors.ConfigError, match='train.batch'), memory.memory_errors():
    exhausted()
  with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'), memory.memory_errors():
    other()


def test_chunk_is_halved_once(capsys):
  # After RESOURCE_EXHAUSTED the chunk is halved once, then a ConfigError follows.
  tried = []

  def work(limit):
    def function(chunk):
      tried.append(chunk)
      return chunk if chunk <= limit else exhausted()
    return function
  assert memory.halve_once(work(8), 8) == 8
  assert memory.halve_once(work(4), 8) == 4 and 'trying 4' in capsys.readouterr().out
  tried.clear()
  with pytest.raises(errors.ConfigError):
    memory.halve_once(work(1), 8)
  assert tried == [8, 4]
  with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'):
    memory.halve_once(other, 8)

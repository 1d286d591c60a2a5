"""`python -m experiments.convert_weights`: pickles become safetensors, and run nothing."""

from importlib import util

import numpy as np
import pytest
import torch

from experiments import _command, convert_weights
from jax3dgen.core import launch, weights
from jax3dgen.core.errors import WeightError


def call(monkeypatch, *files):
  monkeypatch.setattr(launch, 'reexecute', lambda: None)
  return _command.call(convert_weights.run, convert_weights.__doc__, workdir=False,
                       flags=convert_weights.flags, argv=list(map(str, files)))


class Trap:
  """Leaves a mark when it is unpickled."""

  def __init__(self, mark):
    self.mark = mark

  def __reduce__(self):
    return (open, (str(self.mark), 'w'))


def test_names_and_numbers_stay(tmp_path, monkeypatch, capsys):
  table = torch.randn(5, 3)
  state = {'a.weight': torch.randn(4, 3).t(), 'half': torch.ones(2).bfloat16(), 'table': table,
           'tied': table, 'part': table[1:3], 'steps': 7}
  path = tmp_path / 'with space.ckpt'
  torch.save({'state_dict': state, 'epoch': 3, 'optimizer_states': [{'x': torch.ones(2)}]}, path)
  with pytest.raises(WeightError, match=r"convert_weights '.*with space\.ckpt'$"):
    weights.open_all(path)
  assert call(monkeypatch, path) == 0
  assert '5 tensors; left out: steps.' in capsys.readouterr().out
  tensors = weights.open_all(tmp_path)
  assert tensors.keys() == state.keys() - {'steps'}
  for name in tensors:
    np.testing.assert_array_equal(tensors[name].astype(np.float32), state[name].float().numpy())
  assert call(monkeypatch, path) == 2
  assert 'exists already' in capsys.readouterr().err
  assert sorted(p.name for p in tmp_path.iterdir()) == ['with space.ckpt', 'with space.safetensors']


def test_what_would_run_is_refused(tmp_path, monkeypatch, capsys):
  torch.save({'a': torch.ones(1), 'b': Trap(tmp_path / 'mark')}, tmp_path / 'model.pt')
  assert call(monkeypatch, tmp_path / 'model.pt') == 2
  assert 'holds more than tensors' in capsys.readouterr().err
  assert [p.name for p in tmp_path.iterdir()] == ['model.pt']


def test_without_torch_it_names_the_extra(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(util, 'find_spec', lambda name: None)
  assert call(monkeypatch, tmp_path / 'model.pt') == 2
  assert "pip install 'jax3dgen[convert]'" in capsys.readouterr().err
  assert call(monkeypatch) == 2

"""`python -m experiments.convert_weights`: pickles become safetensors, and run nothing."""

from importlib import util

import numpy as np
import pytest
import torch

from experiments import _command, _unpickle, convert_weights
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


def converted(path, content, *state):
  """The tensors of the file that the isolated process would make of a pickle of `content`."""
  torch.save(content, path)
  _unpickle.main(path, path.with_name('new.safetensors'), *state)
  return dict(weights.Tensors(path.with_name('new.safetensors')))


def test_one_storage_in_two_orders(tmp_path):
  table = torch.arange(12.0).reshape(3, 4)
  flipped = torch.arange(6.0).reshape(2, 3).t()
  content = {'a': table, 'b': table.t(), 'c': flipped, 'd': flipped[:2].t(), 'e': table[:, 1]}
  tensors = converted(tmp_path / 'model.bin', content)
  assert tensors.keys() == content.keys()
  for name, x in content.items():
    np.testing.assert_array_equal(tensors[name], x.numpy())


def test_numbers_of_numpy_beside_the_tensors_are_left_out(tmp_path, capsys):
  content = {'a': torch.ones(2), 'epoch': np.float64(3.5), 'step': np.int64(7), 'names':
             np.array(['x', 'y']), 'history': np.arange(3)}
  assert converted(tmp_path / 'model.ckpt', content).keys() == {'a'}
  assert '1 tensors; left out: epoch, step, names, history.' in capsys.readouterr().out
  nested = {'state_dict': {'a': torch.ones(2)}, 'best': np.float32(1), 'scaler': {
      'scale': torch.tensor(2.0)}}
  assert converted(tmp_path / 'model.ckpt', nested).keys() == {'a'}


TWO = {'params': {'w': torch.zeros(2)}, 'params_ema': {'w': torch.ones(2)}, 'iter': 5}
# As latent diffusion writes: the average beside the network, its names without dots.
LDM = {'model.net.w': torch.zeros(2), 'model.net.count': torch.zeros(3),
       'first_stage_model.w': torch.ones(1), 'model_ema.netw': torch.ones(2),
       'model_ema.decay': torch.tensor(0.99)}


@pytest.mark.parametrize('content, state, expected', [
    (TWO, 'params', {'w': 0}), (TWO, 'params_ema', {'w': 1}),
    ({'state_dict': LDM}, 'model', {'model.net.w': 0, 'model.net.count': 0,
                                    'first_stage_model.w': 1}),
    ({'state_dict': LDM, 'epoch': 1}, 'model_ema', {
        'model.net.w': 1, 'model.net.count': 0, 'first_stage_model.w': 1}),
    ({'net.w': torch.zeros(2), 'ema_net.w': torch.ones(2)}, 'ema_net', {'net.w': 1}),
    ({'w': torch.zeros(2), 'ema': {'w': torch.ones(2)}}, 'ema', {'w': 1})])
def test_one_of_several_states(tmp_path, content, state, expected):
  tensors = converted(tmp_path / 'model.pth', content, state)
  assert {name: float(x.flat[0]) for name, x in tensors.items()} == expected


@pytest.mark.parametrize('content, state, words', [
    (TWO, (), 'holds the states params, params_ema; choose one of them with --state'),
    (TWO, ('ema',), "params, params_ema, but no 'ema'; choose"),
    (LDM, (), 'holds the states model, model_ema; choose'),
    ({'w': torch.ones(2)}, ('ema',), "one state, which has no name, and no 'ema'; omit"),
    ({'step': torch.tensor(1)}, (), 'no named tensors'),
    ({0: torch.ones(2)}, (), 'numbers for names'),
    ({'a': torch.eye(2).to_sparse()}, (), 'sparse or quantized')])
def test_what_is_unclear_is_refused(tmp_path, content, state, words):
  with pytest.raises(SystemExit, match=words):
    converted(tmp_path / 'model.pth', content, *state)
  assert [p.name for p in tmp_path.iterdir()] == ['model.pth']


def test_the_flag_of_the_state(tmp_path, monkeypatch, capsys):
  path = tmp_path / 'model.pth'
  torch.save(TWO, path)
  assert call(monkeypatch, path) == 2
  assert 'cannot be converted: it holds the states params, params_ema' in capsys.readouterr().err
  assert call(monkeypatch, path, '--state', 'params_ema') == 0
  np.testing.assert_array_equal(weights.Tensors(path.with_suffix('.safetensors'))['w'], [1, 1])


def test_a_pointer_is_named(tmp_path, monkeypatch, capsys):
  (tmp_path / 'model.pth').write_bytes(b'version https://git-lfs.github.com/spec/v1\noid sha256:0')
  assert call(monkeypatch, tmp_path / 'model.pth') == 2
  assert 'is a pointer of Git LFS' in capsys.readouterr().err


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

"""Weights files: round trips, and everything that must be refused."""

import json
import pickle
import struct
import time
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from jax3dgen.core import weights
from jax3dgen.core.errors import WeightError

TREE = {'net': {'conv': {'kernel': np.arange(12, dtype=np.float32).reshape(3, 4) / 7},
                'bias': np.zeros(4, np.float32)},
        'count': np.array([3], np.int32)}


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'weights.safetensors'
  weights.save(path, TREE, {'made': 'here'})
  return path


def header(entries, data=b''):
  text = json.dumps(entries).encode()
  return struct.pack('<Q', len(text)) + text + data


def test_round_trip(file):
  back = weights.load_tree(file, TREE)
  jax.tree.map(np.testing.assert_array_equal, back, TREE)
  assert back['count'].dtype == jnp.int32
  assert sorted(p.name for p in file.parent.iterdir()) == ['weights.safetensors']
  other = file.with_name('other')
  other.touch()
  assert file.stat().st_mode == other.stat().st_mode  # the user's own umask, not a private file


def test_half_precision_on_disk_is_single_in_memory(file):
  weights.save(file, TREE, dtype=np.float16)
  stored = safetensors_numpy.load_file(file)
  assert stored['net/conv/kernel'].dtype == np.float16 and stored['count'].dtype == np.int32
  kernel = weights.load_tree(file)['net']['conv']['kernel']
  assert kernel.dtype == jnp.float32
  np.testing.assert_allclose(kernel, TREE['net']['conv']['kernel'], rtol=1e-3)


class Trap:
  """Leaves a mark when it is unpickled."""

  def __init__(self, mark):
    self.mark = mark

  def __reduce__(self):
    return (open, (str(self.mark), 'w'))


@pytest.mark.parametrize('name', ['model.pt', 'model.ckpt', 'model.BIN', 'model.safetensors'])
@pytest.mark.parametrize('zipped', [False, True])
def test_pickles_are_refused_unread(tmp_path, name, zipped):
  # Refused by extension or first bytes: unpickling would write the file `mark`.
  import torch
  path, mark = tmp_path / name, tmp_path / 'mark'
  if zipped:
    torch.save(Trap(mark), path)
  else:
    path.write_bytes(pickle.dumps(Trap(mark)))
  with pytest.raises(WeightError, match='pickle'):
    weights.load_tree(path)
  assert not mark.exists()


CRAFTED = {
    'empty': b'',
    'short': b'\x10\x00',
    'huge header': struct.pack('<Q', 2**62) + b'{}',
    'header beyond the end': struct.pack('<Q', 5000) + b'{' + b' ' * 100,
    'no json': struct.pack('<Q', 4) + b'{{{{',
    'overlap': header({'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]},
                       'b': {'dtype': 'F32', 'shape': [2], 'data_offsets': [4, 12]}}, b'\0' * 12),
    'past the end': header({'a': {'dtype': 'F32', 'shape': [10**9],
                                  'data_offsets': [0, 4 * 10**9]}}, b'\0' * 8),
    'shape of another length': header({'a': {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 8]}},
                                      b'\0' * 8),
    'name inside another': header({'a': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]},
                                   'a/b': {'dtype': 'F32', 'shape': [1], 'data_offsets': [4, 8]}},
                                  b'\0' * 8),
}


@pytest.mark.parametrize('data', CRAFTED.values(), ids=CRAFTED)
def test_crafted_files_are_refused_at_once(tmp_path, data):
  # Within a second and 100 MB, whatever the header claims.
  path = tmp_path / 'weights.safetensors'
  path.write_bytes(data)
  tracemalloc.start()
  began = time.process_time()
  with pytest.raises(WeightError, match='weights.safetensors'):
    weights.load_tree(path)
  assert time.process_time() - began < 1 and tracemalloc.get_traced_memory()[1] < 1e8
  tracemalloc.stop()


def test_truncated_flipped_and_missing_files(file):
  data = file.read_bytes()
  weights.seal(file.parent, [file.name])
  weights.check_seal(file.parent, [file.name])
  file.write_bytes(data[:-3])
  with pytest.raises(WeightError, match='whole'):
    weights.load_tree(file)
  file.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
  weights.load_tree(file)  # a flipped byte is only seen by the checksum
  with pytest.raises(WeightError, match='sha256'):
    weights.check_seal(file.parent, [file.name])
  file.write_bytes(b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n')
  for read in (weights.load_tree, weights.open_all, lambda path: weights.check_seal(
      path.parent, [path.name])):
    with pytest.raises(WeightError, match='weights.safetensors is a pointer of Git LFS'):
      read(file)
  with pytest.raises(WeightError, match='No such file'):
    weights.load_tree(file.with_name('none.safetensors'))
  with pytest.raises(WeightError, match='directory'):
    weights.load_tree(file.parent)


def test_one_table_names_all_differences(file):
  target = {'net': {'conv': {'kernel': np.zeros((4, 3))}, 'scale': np.zeros(())},
            'count': np.zeros(1, np.int32)}
  with pytest.raises(WeightError) as caught:
    weights.load_tree(file, target=target)
  rows = [line.split() for line in str(caught.value).splitlines()[1:]]
  assert rows[1:] == [['net/scale', 'missing', '-', 'scalar'], ['net/bias', 'unused', '4', '-'],
                      ['net/conv/kernel', 'misshaped', '3x4', '4x3']]


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_nonfinite_tensors_are_named(tmp_path, value):
  path = tmp_path / 'weights.safetensors'
  safetensors_numpy.save_file({'good': np.ones(3, np.float32),
                               'bad/one': np.array([1, value], np.float16)}, path)
  with pytest.raises(WeightError, match='bad/one') as caught:
    weights.load_tree(path)
  assert 'good' not in str(caught.value)


def test_half_precision_overflow_is_refused_on_saving(file):
  before = file.read_bytes()
  with pytest.raises(WeightError, match='big'):
    weights.save(file, {'big': np.array([1e6], np.float32)}, dtype=np.float16)
  assert file.read_bytes() == before


def test_scalars_stay_scalars(tmp_path):
  tree = {'scale': np.float32(2.5), 'turned': np.arange(6.0, dtype=np.float32).reshape(2, 3).T}
  weights.save(tmp_path / 'a.safetensors', tree)
  back = weights.load_tree(tmp_path / 'a.safetensors', tree)
  assert back['scale'].shape == () and float(back['scale']) == 2.5
  np.testing.assert_array_equal(back['turned'], tree['turned'])

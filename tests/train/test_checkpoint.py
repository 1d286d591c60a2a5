"""Checkpoints under damage: what comes back is exactly what was saved, or an error."""

import errno
import json
import os
import random
import resource
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax3dgen.core import errors, tree
from jax3dgen.train import checkpoint
from tests import processes
from tests.fakes import checkpoint_writer


def make_state(seed=0):
  """A state with the kinds of leaves that runs have."""
  draw = np.random.default_rng(seed)
  params = {'grid': draw.normal(size=(64, 2)).astype(np.float32),
            'mlp': [{'kernel': draw.normal(size=(4, 3)).astype(np.float32)}]}
  state = {'params': params, 'opt': optax.adam(1e-3).init(params), 'step': np.array(7, np.int32),
           'half': np.ones((3,), jnp.bfloat16), 'none': None, 'empty': np.zeros((0, 3), np.float32),
           'minus zero': np.array(-0.0, np.float32), 'flag': np.array([True, False])}
  return jax.tree.map(np.asarray, state)


def assert_same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for (name, x), y in zip(tree.named(a).items(), jax.tree.leaves(b)):
    assert x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes(), name


def saved(folder, *steps, keep=5, config='{}'):
  """`folder` with a checkpoint of make_state(step) for each of the steps."""
  checkpoints = checkpoint.Checkpoints(folder, keep, config)
  for step in steps:
    checkpoints.save(step, make_state(step))
  checkpoints.close()
  return folder


def restored(folder, target=None):
  checkpoints = checkpoint.Checkpoints(folder, 5)
  try:
    return checkpoints.restore(make_state() if target is None else target)
  finally:
    checkpoints.close()


def files(folder):
  return sorted(p for p in folder.rglob('*') if p.is_file() and p.stat().st_size)


def test_round_trip_is_exact(tmp_path):
  step, state = restored(saved(tmp_path, 1, 4))
  assert step == 4
  assert_same(state, make_state(4))


def test_target_may_be_shapes_only(tmp_path):
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), make_state())
  step, state = restored(saved(tmp_path, 3), shapes)
  assert_same(state, make_state(3))


def test_nothing_to_restore(tmp_path):
  assert restored(tmp_path / 'new' / 'folder') is None


def test_keeps_the_newest(tmp_path):
  saved(tmp_path, 1, 2, 3, 4, keep=2)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['3', '4']


def test_config_and_checksums_lie_beside_the_state(tmp_path):
  saved(tmp_path, 2, config='{"seed": 1}')
  record = json.loads((tmp_path / '2' / 'record' / 'metadata').read_text())['record']
  assert record['config'] == '{"seed": 1}' and record['step'] == 2
  assert record['leaves']['params/grid'][:2] == ['float32', [64, 2]]


def test_leftovers_of_a_killed_save_are_removed(tmp_path):
  saved(tmp_path, 1)
  (tmp_path / '2.orbax-checkpoint-tmp' / 'state').mkdir(parents=True)
  assert restored(tmp_path)[0] == 1
  assert [p.name for p in tmp_path.iterdir()] == ['1']


def test_truncated_newest_falls_back_and_says_so(tmp_path, capsys):
  saved(tmp_path, 1, 2, 3)
  for file in files(tmp_path / '3' / 'state'):
    file.write_bytes(file.read_bytes()[:-1])
  (tmp_path / '2' / 'record' / 'metadata').write_text('{"record"')
  step, state = restored(tmp_path)
  assert step == 1
  assert_same(state, make_state(1))
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 2
  assert lines[0].startswith('The checkpoint of step 3 is damaged (')
  assert lines[0].endswith('going on from step 1.') and 'step 2' in lines[1]
  assert sorted(p.name for p in (tmp_path / checkpoint.DAMAGED).iterdir()) == ['2', '3']


def test_a_step_is_saved_again_after_a_fallback(tmp_path):
  saved(tmp_path, 1, 2)
  (tmp_path / '2' / 'record' / 'metadata').unlink()
  checkpoints = checkpoint.Checkpoints(tmp_path, 5)
  assert checkpoints.restore(make_state())[0] == 1
  checkpoints.save(2, make_state(9))
  checkpoints.close()
  step, state = restored(tmp_path)
  assert step == 2
  assert_same(state, make_state(9))


def test_none_whole_is_an_error_that_loses_nothing(tmp_path):
  saved(tmp_path, 1, 2)
  for step in '12':
    (tmp_path / step / 'record' / 'metadata').write_text('')
  with pytest.raises(errors.CheckpointError, match='No checkpoint in .*step 2: .* step 1: '):
    restored(tmp_path)
  assert (tmp_path / '1').exists() and (tmp_path / '2').exists()


@pytest.mark.parametrize('change,words', [
    (lambda s: s | {'step': s['step'].astype(np.int64)}, 'step is int32.., expected int64'),
    (lambda s: s | {'half': np.ones((4,), jnp.bfloat16)},
     'half is bfloat16.3., expected bfloat16.4'),
    (lambda s: s | {'more': s['half']}, 'more is absent'),
    (lambda s: {k: v for k, v in s.items() if k != 'flag'}, 'flag is bool.2., expected absent')])
def test_another_structure_is_an_error(tmp_path, change, words):
  saved(tmp_path, 1)
  with pytest.raises(errors.CheckpointError, match=words):
    restored(tmp_path, change(make_state()))


def tree_of(folder):
  return {str(p.relative_to(folder)): p.read_bytes() for p in files(folder)}


@pytest.mark.parametrize('number', [errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOSPC])
def test_one_error_of_the_file_system_is_no_damage(tmp_path, monkeypatch, number):
  saved(tmp_path, 1, 2)
  monkeypatch.setattr(checkpoint, 'WAITS', (0.0, 0.0))
  read, left = checkpoint.ocp.CheckpointManager.restore, [number]

  def once(*args, **kwargs):
    if left:
      code = left.pop()
      raise OSError(code, os.strerror(code), 'file')
    return read(*args, **kwargs)
  monkeypatch.setattr(checkpoint.ocp.CheckpointManager, 'restore', once)
  step, state = restored(tmp_path)
  assert step == 2 and not left and not (tmp_path / checkpoint.DAMAGED).exists()
  assert_same(state, make_state(2))


def chained(*_, **__):
  try:
    raise OSError(errno.EIO, 'Input/output error')
  except OSError as error:
    raise ValueError('a leaf cannot be read') from error


def in_text(*_, **__):
  raise ValueError("UNKNOWN: Error reading local file [os_error_code='5']")


@pytest.mark.parametrize('fail', [chained, in_text])
def test_lasting_errors_of_the_file_system_move_nothing(tmp_path, monkeypatch, fail):
  before = tree_of(saved(tmp_path, 1, 2))
  monkeypatch.setattr(checkpoint, 'WAITS', (0.0, 0.0))
  tries = []
  monkeypatch.setattr(checkpoint.ocp.CheckpointManager, 'restore',
                      lambda *args, **kwargs: (tries.append(1), fail()))
  with pytest.raises(errors.CheckpointError,
                     match='step 2 in .* cannot be read: Input/output error; nothing was changed'):
    restored(tmp_path)
  assert len(tries) == 3 and tree_of(tmp_path) == before


@pytest.mark.parametrize('part', ['data', 'record/metadata'])
def test_a_file_that_the_system_does_not_open_is_no_damage(tmp_path, monkeypatch, part):
  """A link to itself: the storage library names the error, Orbax takes the record for missing."""
  saved(tmp_path, 1, 2)
  monkeypatch.setattr(checkpoint, 'WAITS', (0.0,))
  file = tmp_path / '2' / part if part != 'data' else max(
      files(tmp_path / '2' / 'state'), key=lambda p: p.stat().st_size)
  file.unlink()
  file.symlink_to(file.name)
  with pytest.raises(errors.CheckpointError, match='cannot be read: .*symbolic links'):
    restored(tmp_path)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['1', '2']


def test_another_shape_is_not_damage(tmp_path):
  before = tree_of(saved(tmp_path, 1, 2))
  with pytest.raises(errors.CheckpointError, match='step 2 in .* is of another state: half is'):
    restored(tmp_path, make_state() | {'half': np.ones((4,), jnp.bfloat16)})
  assert tree_of(tmp_path) == before


def flip(path, draw):
  """Flips one random bit of one random byte."""
  data = bytearray(path.read_bytes())
  data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
  path.write_bytes(data)


def check_flips(tmp_path, count, seed):
  """One flipped byte in the newest step: its exact values come back, or the step before's."""
  draw = random.Random(seed)
  saved(tmp_path / 'whole', 1, 2)
  fell_back = 0
  for i in range(count):
    folder = tmp_path / str(i)
    shutil.copytree(tmp_path / 'whole', folder)
    candidates = files(folder / '2')
    weights = [p.stat().st_size for p in candidates]
    flip(draw.choices(candidates, weights)[0], draw)
    step, state = restored(folder)
    assert_same(state, make_state(step))
    fell_back += step == 1
    shutil.rmtree(folder)
  return fell_back


def test_flipped_bytes_are_never_restored(tmp_path):
  assert check_flips(tmp_path, 12, seed=0) > 0


@pytest.mark.slow
def test_a_hundred_flipped_bytes_are_never_restored(tmp_path):
  assert check_flips(tmp_path, 100, seed=1) > 10


def test_many_flips_at_once(tmp_path):
  draw = random.Random(2)
  saved(tmp_path, 1, 2)
  for _ in range(100):
    flip(draw.choice(files(tmp_path / '2')), draw)
  assert restored(tmp_path)[0] == 1


def test_orbax_alone_restores_a_flipped_byte(tmp_path, monkeypatch):
  """The control: without the check some flips come back as other numbers."""
  monkeypatch.setattr(checkpoint, '_fingerprint', lambda array: [array.dtype.name,
                                                                 list(array.shape), ''])
  state = {'w': np.random.default_rng(0).normal(size=(5000,)).astype(np.float32)}
  checkpoints = checkpoint.Checkpoints(tmp_path, 5)
  checkpoints.save(1, state)
  checkpoints.wait()
  largest = max(files(tmp_path / '1' / 'state'), key=lambda p: p.stat().st_size)
  data = bytearray(largest.read_bytes())
  data[len(data) // 2] ^= 1
  largest.write_bytes(data)
  step, wrong = checkpoints.restore(state)
  checkpoints.close()
  assert step == 1 and not np.array_equal(wrong['w'], state['w'])


def big(seed):
  return {'w': np.random.default_rng(seed).normal(size=100000).astype(np.float32)}


def test_a_disk_that_is_full_for_a_while(tmp_path, monkeypatch, capsys):
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=1)
  checkpoints.save(1, big(1))
  checkpoints.wait()
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, hard))
  free = lambda seconds: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  monkeypatch.setattr(checkpoint.time, 'sleep', free)
  try:
    checkpoints.save(2, big(2))
    checkpoints.save(3, big(3))
  finally:
    free(0)
  assert 'could not be written (File too large); trying again' in capsys.readouterr().out
  checkpoints.close()
  step, state = restored(tmp_path, big(0))
  assert step == 3
  assert_same(state, big(3))
  assert [p.name for p in tmp_path.iterdir()] == ['3']


def test_full_disk_keeps_the_old_step(tmp_path, monkeypatch):
  """A limit on the size of files stands for a full disk."""
  monkeypatch.setattr(checkpoint, 'WAITS', (0.0,))
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=1)
  checkpoints.save(1, big(1))
  checkpoints.wait()
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, hard))
  try:
    with pytest.raises(errors.CheckpointError, match='File too large; the one of step 1 is kept'):
      checkpoints.save(2, big(2))
      checkpoints.wait()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  checkpoints.close()
  step, state = restored(tmp_path, big(0))
  assert step == 1
  assert_same(state, big(1))


def test_a_folder_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(errors.CheckpointError, match='cannot be used for checkpoints'):
    checkpoint.Checkpoints(tmp_path / 'file' / 'checkpoints', 2)


def check_kills(folder, count, seed):
  """A saver killed at random moments: its last announced step, or a newer one, is whole."""
  draw = random.Random(seed)
  for _ in range(count):
    process = processes.start('tests.fakes.checkpoint_writer', folder)
    first = process.stdout.readline()
    time.sleep(draw.uniform(0, 0.4))
    process.kill()
    _, output = processes.finish(process)[0]
    announced = int((first + output).split()[-1])
    checkpoints = checkpoint.Checkpoints(folder, 2)
    step, state = checkpoints.restore(checkpoint_writer.state(0))
    checkpoints.close()
    assert step >= announced
    assert_same(state, checkpoint_writer.state(step))
    assert not list(folder.glob(checkpoint.TEMPORARY))
    assert not (folder / checkpoint.DAMAGED).exists()


def test_killed_while_saving(tmp_path):
  check_kills(tmp_path, 3, seed=0)


@pytest.mark.slow
def test_killed_while_saving_twenty_times(tmp_path):
  check_kills(tmp_path, 20, seed=1)

"""A toy run, broken and unbroken, in one process and in two."""

import os
import re
import signal

import jax
import numpy as np
import pytest

from jax3dgen.core import errors, parallel, tree
from jax3dgen.train import checkpoint, log, loop
from jax3dgen.train import stop as stops
from tests import processes
from tests.fakes import regression_run


def table(workdir):
  return (workdir / 'metrics.csv').read_text()


def newest(workdir):
  checkpoints = checkpoint.Checkpoints(workdir / 'checkpoints', 3)
  try:
    return checkpoints.restore(regression_run.initial())
  finally:
    checkpoints.close()


def assert_equal(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    np.testing.assert_array_equal(x, y)


def at(step, action):
  """A hook that acts after one step."""
  return (1, lambda i, state: action() if i == step else None)


def test_resumed_run_equals_an_unbroken_one(tmp_path):
  parts = tmp_path / 'ein Bär, 熊'
  _, whole = regression_run.run(tmp_path / 'whole', 20)
  regression_run.run(parts, 10)
  start, resumed = regression_run.run(parts, 20)
  assert start == 10
  assert_equal(resumed, whole)
  assert table(parts) == table(tmp_path / 'whole')
  assert regression_run.run(parts, 20)[0] == 20  # finished: no step is made


@pytest.mark.parametrize('number,status', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_saves_and_exits(tmp_path, number, status):
  _, whole = regression_run.run(tmp_path / 'whole', 20)
  with pytest.raises(SystemExit) as stopped:
    regression_run.run(tmp_path / 'parts', 20, hooks=[at(6, lambda: os.kill(os.getpid(), number))])
  assert stopped.value.code == status
  start, resumed = regression_run.run(tmp_path / 'parts', 20)
  assert start == 7  # the signal came after step 6 was judged
  assert_equal(resumed, whole)
  assert table(tmp_path / 'parts') == table(tmp_path / 'whole')


def test_error_in_a_hook_and_resume(tmp_path):
  def fail():
    raise RuntimeError('no display')
  _, whole = regression_run.run(tmp_path / 'whole', 20)
  with pytest.raises(RuntimeError, match='no display'):
    regression_run.run(tmp_path / 'parts', 20, hooks=[at(11, fail)])
  start, resumed = regression_run.run(tmp_path / 'parts', 20)
  assert start == 8
  assert_equal(resumed, whole)
  assert table(tmp_path / 'parts') == table(tmp_path / 'whole')


def test_skipped_steps_stop_the_run_with_the_last_good_state(tmp_path):
  _, good = regression_run.run(tmp_path / 'good', 7)
  with pytest.raises(errors.DivergenceError, match='step 15: .*last 8 steps .*not finite'):
    regression_run.run(tmp_path / 'bad', 30, poison_from=7, guard=stops.Guard(max_skipped=8))
  step, state = newest(tmp_path / 'bad')
  assert step == 15
  assert_equal(state['w'], good['w'])
  assert_equal(state['opt'], good['opt'])


def test_watchdog_stops_before_the_checkpoint(tmp_path):
  losses = []

  def watchdog(step, metrics):
    losses.append(metrics['loss'])
    return 'the field is empty' if len(losses) == 4 else None  # called at steps 1, 4, 5 and 8
  with pytest.raises(errors.DivergenceError, match='step 8: the field is empty'):
    regression_run.run(tmp_path, 30, guard=stops.Guard(watchdog))
  assert newest(tmp_path)[0] == 4


def scale(workdir, steps, factor):
  """Runs or resumes a state that only grows."""
  like = {'x': np.ones(2, np.float32)}
  checkpoints = checkpoint.Checkpoints(workdir / 'checkpoints', 1)
  writer = log.Writer(workdir)
  grow = parallel.map(lambda s: (jax.tree.map(lambda x: x * np.float32(factor), s), {}), 0)
  start, state = checkpoints.restore(like) or (0, like)
  try:
    loop.run(grow, parallel.replicate(state), start=start, steps=steps, writer=writer,
             checkpoints=checkpoints, log_every=1, checkpoint_every=2)
  finally:
    writer.close()
    checkpoints.close()


def test_state_that_is_not_finite_is_never_saved(tmp_path):
  scale(tmp_path, 2, 2.0)
  with pytest.raises(errors.DivergenceError, match='step 4: the state is not finite in x'):
    scale(tmp_path, 8, 1e30)
  checkpoints = checkpoint.Checkpoints(tmp_path / 'checkpoints', 1)
  step, state = checkpoints.restore({'x': np.ones(2, np.float32)})
  checkpoints.close()
  assert step == 2 and (state['x'] == 4).all()


def test_metrics_are_fetched_only_where_needed(tmp_path, monkeypatch):
  fetched = []
  original = parallel.unreplicate

  def count(tree_):
    fetched.append('loss' in tree_)
    return original(tree_)
  monkeypatch.setattr(loop.parallel, 'unreplicate', count)
  regression_run.run(tmp_path, 20, log_every=10, checkpoint_every=20)
  assert fetched == [True, True, True, False, False]  # steps 1, 10, 20; the save; the result


def test_hooks_run_on_time_and_at_the_end(tmp_path):
  calls = []
  regression_run.run(tmp_path, 7, hooks=[(3, lambda i, s: calls.append(('three', i))),
                              (0, lambda i, s: calls.append(('end', i)))])
  assert calls == [('three', 3), ('three', 6), ('three', 7), ('end', 7)]


def test_lines_report_compilation_progress_and_memory(tmp_path, capsys):
  regression_run.run(tmp_path, 10)
  text = capsys.readouterr().out
  assert re.search(r'The first step took [\d.]+ s\.', text)
  assert re.search(r'toy 10/10, [\d.]+ steps/s, .* left: loss', text)
  assert re.search(r'Peak memory [\d.]+ GiB\.', text)
  assert 'computed' not in text  # nobody said what a step computes


def digest_of(result):
  status, output = result
  assert status == 0, output
  return re.search(r'digest (\w{64})', output).group(1)


def test_killed_twice(tmp_path):
  """Before the first checkpoint, and after some."""
  _, whole = regression_run.run(tmp_path / 'whole', 20)
  for moment in (2, 16):
    process = processes.start('tests.fakes.regression_run', tmp_path / 'parts', 20, '--pause', 0.02,
                              devices=jax.device_count())
    for line in process.stdout:
      if line == f'step {moment}\n':
        break
    process.kill()
    processes.finish(process)
  start, resumed = regression_run.run(tmp_path / 'parts', 20)
  assert start > 0
  assert_equal(resumed, whole)
  assert table(tmp_path / 'parts') == table(tmp_path / 'whole')


def test_two_processes_equal_one(tmp_path):
  """2 x 2 devices against 1 x 4, and the second half of the run resumed by two processes; in
  between SIGTERM reaches one of them alone, and both save and stop."""
  _, whole = regression_run.run(tmp_path / 'one', 12)
  group = processes.start_group('tests.fakes.regression_run', tmp_path / 'two', 12, '--pause', 0.2)
  for line in group[0].stdout:
    if line == 'step 2\n':
      break
  group[1].send_signal(signal.SIGTERM)
  for status, output in processes.finish(*group):
    assert status == 143, output
  results = processes.finish(
      *processes.start_group('tests.fakes.regression_run', tmp_path / 'two', 12))
  first, second = (digest_of(result) for result in results)
  assert first == second
  assert all(re.search(r'from [1-9]', output) for _, output in results)
  step, state = newest(tmp_path / 'two')
  assert step == 12 and tree.digest(state['w']) == first
  for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(whole)):
    np.testing.assert_allclose(x, y, atol=1e-6, rtol=0)
  rows = [np.loadtxt(table(tmp_path / name).splitlines()[1:], delimiter=',')
          for name in ('one', 'two')]
  np.testing.assert_allclose(*rows, rtol=1e-5)


def test_an_error_of_process_0_ends_all_with_its_sentence(tmp_path):
  group = processes.start_group('tests.fakes.regression_run', tmp_path, 50, '--spoil', 12)
  ended = processes.finish(*group)
  assert [status for status, _ in ended] == [2, 2], ended
  assert all('metrics.csv cannot be written' in said for _, said in ended)
  assert 'Traceback' not in ended[0][1] + ended[1][1]


@pytest.mark.slow  # the other process notices by JAX's heartbeat, after 100 seconds
def test_an_error_of_one_process_alone_leaves_no_other_waiting(tmp_path):
  main, other = processes.finish(*processes.start_group('tests.fakes.regression_run', tmp_path, 50,
                                                        '--fails_alone', 12))
  assert other[0] == 2 and 'Process 1 alone failed.' in other[1]
  assert main[0] != 0

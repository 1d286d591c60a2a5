"""metrics.csv, events and the progress lines."""

import io
import subprocess
import sys

import numpy as np
import pytest

from jax3dgen.core import errors
from jax3dgen.train import log


def write(workdir, start, steps, metrics=lambda i: {'loss': 1 / i, 'opacity': 0.5}):
  writer = log.Writer(workdir, start)
  for i in steps:
    writer.write(i, metrics(i))
  writer.close()
  return (workdir / 'metrics.csv').read_text()


def test_rows_and_header(tmp_path):
  text = write(tmp_path, 0, [1, 2, 3])
  assert text.splitlines() == ['step,loss,opacity', '1,1,0.5', '2,0.5,0.5', '3,0.333333333,0.5']


def test_float32_survives(tmp_path):
  values = np.random.default_rng(0).normal(size=20).astype(np.float32)
  text = write(tmp_path, 0, range(20), lambda i: {'x': values[i]})
  back = [np.float32(line.split(',')[1]) for line in text.splitlines()[1:]]
  np.testing.assert_array_equal(back, values)


def test_resumed_file_equals_an_unbroken_one(tmp_path):
  whole = write(tmp_path / 'whole', 0, range(1, 11))
  write(tmp_path / 'broken', 0, range(1, 9))
  assert write(tmp_path / 'broken', 4, range(5, 11)) == whole


def test_start_from_nothing_drops_everything(tmp_path):
  write(tmp_path, 0, range(1, 9))
  assert write(tmp_path, 0, [1]).splitlines() == ['step,loss,opacity', '1,1,0.5']


@pytest.mark.parametrize('fragment', ['4', '4,0.', 'x,y,z', '\0\0'])
def test_a_truncated_last_line_is_dropped(tmp_path, fragment):
  whole = write(tmp_path, 0, range(1, 4))
  with open(tmp_path / 'metrics.csv', 'a') as file:
    file.write(fragment)
  assert write(tmp_path, 3, []) == whole


def test_a_new_column_leaves_old_rows_empty(tmp_path):
  writer = log.Writer(tmp_path)
  writer.write(1, {'a': 1})
  writer.write(2, {'a': 2, 'b': 3})
  writer.write(3, {'b': 4})
  writer.close()
  text = (tmp_path / 'metrics.csv').read_text()
  assert text.splitlines() == ['step,a,b', '1,1,', '2,2,3', '3,,4']
  assert write(tmp_path, 3, []) == text


def test_events_hold_scalars_and_images(tmp_path):
  writer = log.Writer(tmp_path)
  writer.write(1, {'loss': 2.0})
  writer.image('strip', 1, np.linspace(-1, 2, 4 * 6 * 3).reshape(4, 6, 3))
  writer.close()
  data = b''.join(p.read_bytes() for p in tmp_path.glob('events.out.tfevents.*'))
  assert b'loss' in data and b'strip' in data and b'PNG' in data


def test_a_file_that_cannot_be_written(tmp_path):
  writer = log.Writer(tmp_path)
  (tmp_path / 'metrics.csv').unlink()
  (tmp_path / 'metrics.csv').mkdir()
  with pytest.raises(errors.ConfigError, match='metrics.csv cannot be written: Is a directory'):
    writer.write(1, {})
  writer.close()


def test_a_full_disk_is_an_error_and_no_endless_wait(tmp_path):
  code = f"""
import resource, signal
from jax3dgen.core import errors
from jax3dgen.train import log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = log.Writer({str(tmp_path)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
  for i in range(1000):
    writer.write(i, {{'loss': 0.5, 'opacity': 0.25}})
except errors.ConfigError as error:
  print(error)
writer.close()
"""
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
  assert done.returncode == 0, done.stderr
  assert 'metrics.csv cannot be written: File too large' in done.stdout


def test_other_processes_write_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr(log.parallel, 'is_main', lambda: False)
  writer = log.Writer(tmp_path / 'run')
  writer.write(1, {'loss': 2.0})
  writer.image('strip', 1, np.zeros((2, 2, 3)))
  writer.close()
  with log.Progress(0, 10, 'run') as progress:
    progress.show(1, {'loss': 2.0})
  assert not (tmp_path / 'run').exists()


def test_lines_without_a_terminal(capsys):
  with log.Progress(10, 20, 'a bear') as progress:
    progress.advance()
    progress.say('Hello.')
    progress.show(15, {'loss': 0.12345})
  hello, line = capsys.readouterr().out.splitlines()
  assert hello == 'Hello.' and line.startswith('a bear 15/20, ') and line.endswith('loss 0.1235')


def test_bar_on_a_terminal(capsys, monkeypatch):
  class Terminal(io.StringIO):
    def isatty(self):
      return True
  screen = Terminal()
  monkeypatch.setattr(sys, 'stderr', screen)
  with log.Progress(0, 3, 'a bear') as progress:
    for i in range(3):
      progress.advance()
      progress.show(i + 1, {'loss': 0.5})
  text = screen.getvalue()
  assert 'a bear' in text and '3/3' in text and 'loss=0.5' in text

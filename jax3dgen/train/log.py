"""Metrics of a run: metrics.csv, TensorBoard events and a progress bar. Only process 0 writes.

metrics.csv holds nothing that depends on the clock, so the file of a resumed run equals that of an
uninterrupted one; rates and seconds go to the progress line.
"""

import contextlib
import csv
import pathlib
import sys
import time

import numpy as np
from tqdm import tqdm

from jax3dgen.core import files, parallel
from jax3dgen.train import workdir as workdirs


class Writer:
  """Writes scalars and images below `workdir`; a run that resumes at `start` drops later rows."""

  def __init__(self, workdir, start=0):
    self._main = parallel.is_main()
    if not self._main:
      return
    self._path = pathlib.Path(workdir) / 'metrics.csv'
    from jax3dgen.train import events  # here, because it is slow to import
    with workdirs.writing(self._path):
      self._path.parent.mkdir(parents=True, exist_ok=True)
      self._columns, rows = _read(self._path, start)
      self._rewrite(rows)
      self._events = events.Events(self._path.with_name('events'), start)

  def write(self, step, metrics):
    """One row of scalars {name: number} at `step`."""
    if not self._main:
      return
    row = {'step': str(step)} | {k: f'{float(v):.9g}' for k, v in metrics.items()}
    with workdirs.writing(self._path):
      if any(k not in self._columns for k in row):
        rows = _read(self._path, step)[1]
        self._columns += [k for k in row if k not in self._columns]
        self._rewrite(rows)
      with open(self._path, 'a', newline='', encoding='utf-8') as file:
        csv.DictWriter(file, self._columns, lineterminator='\n').writerow(row)
      self._events.scalars(step, {k: float(v) for k, v in metrics.items()})

  def image(self, name, step, array):
    """An image [H, W, 3] in [0, 1] for TensorBoard."""
    if self._main:
      pixels = np.round(255 * np.clip(np.asarray(array), 0, 1)).astype(np.uint8)
      with workdirs.writing(self._path):
        self._events.image(step, name, pixels)

  def close(self):
    """Closes the event file; errors of a full disk are ignored."""
    if self._main:
      with contextlib.suppress(OSError):
        self._events.close()

  def _rewrite(self, rows):
    with files.replacing(self._path) as beside:
      with open(beside, 'w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, self._columns, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def _read(path, last):
  """(columns, rows up to step `last`) of a metrics file; a truncated last line is dropped."""
  if not path.exists():
    return ['step'], []
  with open(path, newline='', encoding='utf-8', errors='replace') as file:
    reader = csv.DictReader(file)
    columns = list(reader.fieldnames or ['step'])
    rows = [r for r in reader if None not in r.values() and r['step'].isdigit()]
  return columns, [r for r in rows if int(r['step']) <= last]


def last(workdir):
  """The last row of a workdir's metrics, {name: float}."""
  row = _read(pathlib.Path(workdir) / 'metrics.csv', sys.maxsize)[1][-1]
  return {name: float(text) for name, text in row.items() if name != 'step' and text}


class Progress:
  """A bar on a terminal, else a line at each `show`: rate, remaining time, current figures."""

  def __init__(self, start, total, describe='', unit='steps'):
    self._main = parallel.is_main()
    self._start, self._total, self._describe, self._unit = start, total, describe, unit
    self._since = time.monotonic()
    self._bar = None
    if self._main and sys.stderr.isatty():
      self._bar = tqdm(total=total, initial=start, desc=describe or None, unit=unit)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._bar is not None:
      self._bar.close()

  def advance(self, steps=1):
    """So many more steps were started."""
    if self._bar is not None:
      self._bar.update(steps)

  def say(self, text):
    """A line of text that does not disturb the bar."""
    if self._bar is not None:
      self._bar.write(text)
    elif self._main:
      print(text, flush=True)

  def show(self, step, metrics):
    """Reports the metrics at `step`."""
    figures = {k: f'{v:.4g}' for k, v in metrics.items()}
    if self._bar is not None:
      self._bar.set_postfix(figures)
    elif self._main:
      rate = (step - self._start) / max(time.monotonic() - self._since, 1e-9)
      left = tqdm.format_interval((self._total - step) / rate)
      text = ' '.join(f'{k} {v}' for k, v in figures.items())
      print(f'{self._describe} {step}/{self._total}, {rate:.2f} {self._unit}/s, {left} left: {text}'
            .strip(), flush=True)

"""Early ends of a training loop: signals, a watchdog, consecutive skipped steps."""

from collections.abc import Callable
import signal
import threading
from typing import NamedTuple

import jax
from jax.experimental import multihost_utils


class Guard(NamedTuple):
  """The conditions under which `loop.run` stops a run.

  `watchdog(step, metrics)` returns a sentence when the run has collapsed, else None;
  `max_skipped` is the number of consecutive skipped (non-finite) steps that ends the run, as
  counted in metrics['skipped'].
  """
  watchdog: Callable = lambda step, metrics: None
  max_skipped: int = 20


DEFAULT = Guard()


class Preemption:
  """A context in which SIGTERM and SIGINT request a stop; a second SIGINT interrupts at once.

  In a run of several processes JAX's coordination service forwards a SIGTERM to any of them, so
  that all stop after the same step.
  """

  def __enter__(self):
    self.signal, self._old = 0, {}
    if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._old[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_):
    for number, handler in self._old.items():
      signal.signal(number, handler)

  def _note(self, number, frame):
    if self.signal and number == signal.SIGINT:
      raise KeyboardInterrupt
    self.signal = number

  def requested(self, step):
    """Whether to stop after `step`; the same answer in all processes."""
    if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
      self.signal = signal.SIGTERM
    return self.signal != 0

  @property
  def status(self):
    """The exit status of a process that a signal has stopped: 143 for SIGTERM."""
    return 128 + self.signal

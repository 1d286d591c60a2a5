"""Signals that end a run early."""

import os
import signal
import threading

import pytest

from jax3dgen.train import stop as stops


@pytest.mark.parametrize('number,status', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_set_a_flag(number, status):
  before = signal.getsignal(number)
  with stops.Preemption() as preemption:
    assert not preemption.requested(1)
    os.kill(os.getpid(), number)
    assert preemption.requested(2) and preemption.status == status
  assert signal.getsignal(number) == before


def test_a_second_interrupt_interrupts():
  with pytest.raises(KeyboardInterrupt), stops.Preemption():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)


def test_preemption_in_a_thread_leaves_signals_alone():
  requests = []

  def work():
    with stops.Preemption() as preemption:
      requests.append(preemption.requested(1))
  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert requests == [False]

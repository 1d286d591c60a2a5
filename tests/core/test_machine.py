"""What the system tells of the machine, with what macOS lacks taken away."""

import os
import pathlib
import resource
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from jax3dgen.core import machine

VM_STAT = '''Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10.
Pages active:                          90000.
Pages inactive:                          200.
Pages speculative:                      3000.
Pages throttled:                           0.
'''


def test_cores(monkeypatch):
  assert 1 <= machine.cores() <= os.cpu_count()
  monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
  assert machine.cores() == os.cpu_count()
  monkeypatch.setattr(os, 'cpu_count', lambda: None)
  assert machine.cores() == 1


def test_resident_memory_has_the_unit_of_the_system(monkeypatch):
  usage = SimpleNamespace(ru_maxrss=3)
  for platform, expected in (('linux', 3072), ('darwin', 3)):
    monkeypatch.setattr(sys, 'platform', platform)
    assert machine.resident(usage) == expected
  monkeypatch.undo()
  assert 2**24 < machine.resident(resource.getrusage(resource.RUSAGE_SELF)) < 2**40


@pytest.fixture
def macos(monkeypatch, tmp_path):
  """No /proc and no count of available pages."""
  monkeypatch.setattr(machine, 'MEMINFO', tmp_path / 'meminfo')
  whole = os.sysconf

  def sysconf(name):
    if name == 'SC_AVPHYS_PAGES':
      raise ValueError('unrecognized configuration name')
    return whole(name)
  monkeypatch.setattr(os, 'sysconf', sysconf)
  monkeypatch.setattr(shutil, 'which', lambda name: None)
  return monkeypatch


def test_free_memory_of_macos(macos):
  assert machine.free_memory() is None
  macos.setattr(shutil, 'which', lambda name: f'/usr/bin/{name}')
  output = lambda text: lambda *args, **kwargs: SimpleNamespace(stdout=text)
  macos.setattr(subprocess, 'run', output(VM_STAT))
  assert machine.free_memory() == 16384 * 3210
  macos.setattr(subprocess, 'run', output('vm_stat: not permitted'))
  assert machine.free_memory() is None


def test_free_memory_of_linux(macos, monkeypatch):
  machine.MEMINFO.write_text('MemTotal:  900 kB\nMemAvailable:      500 kB\n')
  assert machine.free_memory() == 500 * 1024
  machine.MEMINFO.write_text('MemTotal:  900 kB\n')  # old kernels
  assert machine.free_memory() is None
  if pathlib.Path('/proc/self/statm').exists():
    machine.MEMINFO.write_text('MemAvailable:  99999999999 kB\n')
    monkeypatch.setattr(resource, 'getrlimit', lambda kind: (2**42, 2**42))
    assert 2**41 < machine.free_memory() < 2**42

"""The report on the machine: status 0, missing packages and known problems."""

import configparser
import hashlib
import os
import pathlib
import subprocess
import sys

import pytest

from experiments import doctor
from jax3dgen.core import launch, machine

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOOD = dict(backend='cpu', jaxlib='0.10.2', python=(3, 11), nvidia=False, memory=16.0,
            env={'JAX_COMPILATION_CACHE_DIR': '/cache', launch.GUARD: 'MALLOC_ARENA_MAX'})


def test_a_good_machine_has_no_problem():
  assert list(doctor.problems(**GOOD)) == []
  assert list(doctor.problems(**GOOD | dict(memory=None))) == []
  gpu = dict(backend='gpu', jaxlib='0.11.1', python=(3, 12), nvidia=True)
  assert list(doctor.problems(**GOOD | gpu)) == []


@pytest.mark.parametrize('change, word', [
    (dict(backend='gpu', jaxlib='0.10.2', nvidia=True), 'hundreds of times slower'),
    (dict(backend='gpu', jaxlib='0.11.0', nvidia=True, python=(3, 12)), 'hundreds of times slower'),
    (dict(nvidia=True), 'needs Python 3.12'),
    (dict(nvidia=True, python=(3, 12)), 'cuda'),
    (dict(env={'JAX_COMPILATION_CACHE_DIR': '/c', launch.GUARD: 'XLA_FLAGS'}), 'XLA_FLAGS'),
    (dict(env={}), 'compilation cache'),
    (dict(memory=1.5), '1.5 GiB'),
])
def test_each_problem_is_reported(change, word):
  sentence, = doctor.problems(**GOOD | change)
  assert word in sentence


def test_memory_that_the_system_does_not_tell_is_unknown(monkeypatch):
  monkeypatch.setattr(machine, 'free_memory', lambda: None)
  monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
  lines = [line.split() for line in doctor.screen(os.environ)]
  assert ['memory', 'unknown'] in lines
  assert ['cores', f'{os.cpu_count()};'] in [line[:2] for line in lines]


def test_extras_are_those_of_the_package():
  setup = configparser.ConfigParser()
  setup.read(ROOT / 'setup.cfg')
  assert set(doctor.EXTRAS) == set(setup['options.extras_require'])


def test_damaged_weights_are_reported(tmp_path):
  folder = tmp_path / 'net'
  folder.mkdir()
  (folder / 'weights.safetensors').write_bytes(b'weights')
  (folder / 'sha256').write_text(hashlib.sha256(b'weights').hexdigest() + '  weights.safetensors\n')
  assert [(name, whole) for name, _, whole in doctor.weights(tmp_path)] == [('net', True)]
  (folder / 'weights.safetensors').write_bytes(b'wrights')
  assert [whole for _, _, whole in doctor.weights(tmp_path)] == [False]


def test_the_command_prints_one_screen():
  env = {k: v for k, v in os.environ.items() if k != launch.GUARD}
  process = subprocess.run([sys.executable, '-m', 'experiments.doctor'], cwd=ROOT, text=True,
                           capture_output=True, timeout=120,
                           env=env | {'XLA_FLAGS': '--xla_force_host_platform_device_count=8'})
  assert process.returncode == 0, process.stderr
  lines = process.stdout.splitlines()
  assert len(lines) < 30
  assert [line for line in lines if line.startswith('devices')] == ['devices    cpu:0, cpu:1 (cpu)']
  assert [line for line in lines if line.startswith('!') and 'XLA_FLAGS' in line]
  assert sum(line.startswith('extra') for line in lines) == len(doctor.EXTRAS)
  assert 'WRONG' not in process.stdout

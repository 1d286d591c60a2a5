"""The call stack from the command line to the formula of SDS stays short."""

import pathlib
import runpy
import signal
import sys
import traceback

import pytest

from jax3dgen.core import launch
from jax3dgen.distill import sds
from jax3dgen.recipes.distill import outputs
from tests.house import ROOT

PROJECT = ('jax3dgen', 'experiments')
FRAMES, FILES = 8, 5  # at most, the command's module and the formula included


def project_frames():
  """[(file below the root, function)] of the project's frames in the current stack."""
  paths = [(pathlib.Path(frame.filename), frame.name) for frame in traceback.extract_stack()]
  below = [(path.relative_to(ROOT), name) for path, name in paths if path.is_relative_to(ROOT)]
  return [(path.as_posix(), name) for path, name in below if path.parts[0] in PROJECT]


def test_few_frames_in_few_files_lead_to_the_formula(tmp_path, monkeypatch):
  stacks, direction = [], sds.direction

  def recorded(*args):
    stacks.append([*project_frames(), ('jax3dgen/distill/sds.py', 'direction')])
    return direction(*args)
  monkeypatch.setattr(sds, 'DISTILLATION', sds.DISTILLATION._replace(direction=recorded))
  monkeypatch.setattr(launch, 'reexecute', lambda: None)
  monkeypatch.setattr(outputs, 'previewer', lambda *_: lambda *_: None)  # no part of the stack
  monkeypatch.setattr(outputs, 'write', lambda *_: {})
  monkeypatch.setattr(sys, 'argv', [
      'distill.py', f'--config={ROOT / "configs" / "embedded.py"}:tiny', f'--workdir={tmp_path}',
      '--config.train.steps=1'])
  handler = signal.getsignal(signal.SIGTERM)
  try:
    with pytest.raises(SystemExit) as exit_status:
      runpy.run_module('experiments.distill', run_name='__main__')
  finally:
    signal.signal(signal.SIGTERM, handler)
  assert exit_status.value.code == 0 and stacks
  for stack in stacks:
    assert len(stack) <= FRAMES and len({path for path, _ in stack}) <= FILES, '\n'.join(
        map(str, stack))

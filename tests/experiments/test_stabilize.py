"""`python -m experiments.stabilize` and `engine_study` in this process, with their tiny configs."""

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from experiments import _command, engine_study, figurine_meshes, stabilize
from jax3dgen.core import launch
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io
from jax3dgen.physics import body, native
from tests import commands


def call(module, config, workdir, *args):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    arguments = [f'--config={commands.ROOT / "configs" / config}'] if config else []
    flags = {'config': f'configs/{config.split(":")[0]}'} if config else {'flags': module.flags}
    return _command.call(module.run, module.__doc__, **flags,
                         argv=[*arguments, f'--workdir={workdir}', *args])


def test_a_leaning_box_file_is_made_to_stand(tmp_path):
  box = trimesh.creation.box((0.4, 0.5, 1.0))
  box.vertices[:, 0] += 0.5 * (box.vertices[:, 2] + 0.5)
  mesh_io.write(tmp_path / 'box.stl', Mesh(np.float32(box.vertices), np.int32(box.faces)))
  status = call(stabilize, 'stabilize.py', tmp_path / 'out',
                f'--config.mesh={tmp_path / "box.stl"}')
  figures = json.loads((tmp_path / 'out' / 'result.json').read_text())
  assert status == 0 and figures['stable'] and not figures['stable_before']
  assert 0 < figures['chamfer'] < figures['flat_cut_chamfer']
  assert native.drop(body.from_mesh(mesh_io.read(tmp_path / 'out' / 'mesh.glb'))).stable
  # Even samples of N points of an area A: 1/2 sqrt(A / N) is the mean distance to the nearest.
  area = box.area / np.ptp(box.vertices, axis=0).max()**2
  np.testing.assert_allclose(figures['chamfer_floor'], 0.5 * np.sqrt(area / 10_000), rtol=0.1)
  assert 'Stands' in (tmp_path / 'out' / 'report.html').read_text()


@pytest.mark.slow
def test_the_study_of_stabilised_solids(tmp_path):
  assert call(stabilize, 'stabilize.py:tiny', tmp_path) == 0
  rows = list(csv.DictReader((tmp_path / 'stabilize.csv').open()))
  assert len(rows) == 2 and all(float(row['rotation_deg']) > 20 for row in rows)
  page = (tmp_path / 'stabilize.md').read_text()
  assert all(f'| {row["seed"]} | {row["kind"]} |' in page for row in rows)


@pytest.mark.parametrize('number, status', [
    (signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)])
def test_the_study_can_be_stopped(tmp_path, number, status):
  """It says how far it is where no terminal shows a bar, and a signal ends it there."""
  code = tmp_path / 'probe.py'
  code.write_text('''
import time
from experiments import _command
from experiments import stabilize as command
from jax3dgen.recipes.stability import stabilize

def examine(seed, config, seeds=[]):
  seeds.append(seed)
  time.sleep(60 * (len(seeds) - 1))
  return [{'stands': True}]
stabilize.examine = examine  # the first solid takes no time
_command.main(command.run, command.__doc__, config='configs/stabilize.py')
''')
  arguments = [sys.executable, code, '--config', 'configs/stabilize.py:study', '--workdir',
               tmp_path / 'run']
  with subprocess.Popen(arguments, cwd=commands.ROOT, env=commands.environment(), text=True,
                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
    assert process.stdout.readline().startswith('solid 1/50')
    process.send_signal(number)
    assert process.wait(60) == status
  assert not list(tmp_path.glob('run/stabilize.*'))


def test_nothing_to_stabilise_is_refused(tmp_path, capsys):
  assert call(stabilize, 'stabilize.py', tmp_path) == 2
  assert 'config.mesh' in capsys.readouterr().err


def test_a_wrong_mesh_leaves_no_workdir(tmp_path, capsys):
  (tmp_path / 'flat.obj').write_text('v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n')
  for name in ('no.obj', 'flat.obj'):
    assert call(stabilize, 'stabilize.py', tmp_path / 'out',
                f'--config.mesh={tmp_path / name}') == 2
    assert not (tmp_path / 'out').exists()
    assert {'no': 'no such file', 'flat': 'flat'}[name[:-4]] in capsys.readouterr().err


@pytest.mark.parametrize('field', ['solids=0', 'seconds=0', 'engine=bullet', 'tilts.n=-1',
                                   'hull_vertices=1', 'tilts.max_deg=100', 'first_seed=-1'])
def test_an_engine_study_of_nothing_is_refused(field, tmp_path, capsys):
  assert call(engine_study, 'engine_study.py:tiny', tmp_path / 'out', f'--config.{field}') == 2
  message = capsys.readouterr().err
  assert field.split('=')[0].split('.')[0] in message and 'Traceback' not in message
  assert not (tmp_path / 'out').exists()


def test_the_engine_study_counts_labels(tmp_path):
  assert call(engine_study, 'engine_study.py:tiny', tmp_path, '--config.engine=rest') == 0
  rows = list(csv.DictReader((tmp_path / 'labels.csv').open()))
  assert len(rows) == 7 * 2 * 2  # solids, tilts, engines
  same = [a['stable'] == b['stable'] for a, b in zip(rows[:14], rows[14:], strict=True)]
  page = (tmp_path / 'engines.md').read_text()
  assert f'| native | 100.0% | {np.mean(same):.1%} |' in page


def test_figurine_files_are_written(tmp_path):
  assert call(figurine_meshes, None, tmp_path, '--count', '2') == 0
  assert sorted(p.name for p in tmp_path.glob('*.glb')) == [
      '000_yellow_rocket.glb', '001_yellow_penguin.glb']

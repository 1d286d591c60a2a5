"""`python -m experiments.stability_sweep`: tables, page, broken files, refusals, stops."""

import csv
import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
import trimesh

from experiments import _command, stability_sweep
from jax3dgen.core import launch
from jax3dgen.export import sweep_page, sweep_tables
from jax3dgen.recipes.stability import sweep
from jax3dgen.train import stop as stops
from tests import commands

BROKEN = {
    'empty.obj': b'', 'cut.glb': b'glTF\x02\x00\x00\x00', 'text.stl': b'not a mesh at all',
    'nan.obj': b'v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n', 'notes.txt': b'mesh',
    'flat.obj': b'v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n', 'index.obj': b'v 0 0 0\nf 1 2 9\n',
    'bomb.ply': b'ply\nformat ascii 1.0\nelement vertex 1000000000\nproperty float x\nend_header\n',
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Boxes as GLB, STL and OBJ with names of all sorts, a pole that falls, and broken files."""
  folder = tmp_path_factory.mktemp('meshes')
  (folder / 'deep').mkdir()
  box = trimesh.creation.box((1.0, 0.5, 0.25))
  for name in ('box.glb', 'deep/box.stl', 'b\u00f6x \u2603.ply'):
    box.export(folder / name)
  box.export(folder / 'plain.obj')
  os.rename(folder / 'plain.obj', os.fsencode(folder) + b'/b\xffx.obj')
  pole = trimesh.creation.cylinder(0.02, 2.0)
  pole.apply_translation((5.0, 0, 7.0))
  pole.export(folder / 'pole.stl')
  for name, content in BROKEN.items():
    (folder / name).write_bytes(content)
  return folder


def call(workdir, meshes, *args):
  """The command in this process; (status, rows of results.csv, rows of runs.csv)."""
  config = commands.ROOT / 'configs' / 'stability_sweep.py:tiny'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    status = _command.call(
        stability_sweep.run, stability_sweep.__doc__, config='configs/stability_sweep.py',
        argv=[f'--config={config}', f'--config.meshes={meshes}', f'--workdir={workdir}', *args])
  tables = []
  for name in ('results.csv', 'runs.csv'):
    path = workdir / name
    tables.append(list(csv.DictReader(path.open(encoding='utf-8'))) if path.exists() else None)
  return status, *tables


@pytest.fixture(scope='module')
def swept(folder, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('sweep')
  return workdir, *call(workdir, f'{folder}/**/*')


def test_broken_files_are_rows_with_a_reason(swept):
  _, status, rows, _ = swept
  assert status == 3
  faults = {row['mesh']: row['error'] for row in rows if row['error']}
  assert set(faults) == set(BROKEN)
  assert all(len(reason) < 300 and 'Traceback' not in reason for reason in faults.values())
  assert all(not row['stable_rate'] and not row['runs'] for row in rows if row['error'])


def test_good_files_are_judged(swept):
  _, _, rows, runs = swept
  good = {row['mesh']: row for row in rows if not row['error']}
  assert set(good) == {'box.glb', 'deep/box.stl', 'b\u00f6x \u2603.ply', r'b\xffx.obj', 'pole.stl'}
  assert list(rows[0]) == list(sweep_tables.RESULTS)
  for name in set(good) - {'pole.stl'}:
    row = good[name]
    assert (row['stable_rate'], row['watertight'], row['body']) == ('1', 'true', 'exact')
    assert float(row['volume']) == pytest.approx(0.125, rel=1e-5)
    height, width = (0.5, 0.25) if name == 'box.glb' else (0.25, 0.5)  # GLB is y-up
    margin = np.rad2deg(np.arctan2(width, height))
    assert float(row['margin_deg']) == pytest.approx(margin, abs=0.01)
  pole = good['pole.stl']
  np.testing.assert_allclose([float(pole[c]) for c in ('com_x', 'com_y', 'com_z')], (5, 0, 7),
                             atol=1e-5)
  assert float(pole['stable_rate']) < 1 and float(pole['margin_deg']) < 1.2
  assert len(runs) == 5 * 3 and {row['run'] for row in runs} == {'0', '1', '2'}
  assert all(0 <= float(row['tilt_deg']) <= 4.58 for row in runs)


def test_a_refusal_of_the_engine_is_an_error_and_no_label(tmp_path):
  """A density at which MuJoCo takes the mass for zero."""
  trimesh.creation.box((1.0, 0.5, 0.25)).export(tmp_path / 'box.stl')
  trimesh.creation.box((1.0, 1.0, 1.0)).export(tmp_path / 'cube.stl')
  status, rows, runs = call(tmp_path / 'out', f'{tmp_path}/*.stl', '--config.density=1e-17',
                            '--config.rollouts=1')
  assert status == 3 and runs == [] and len(rows) == 2
  for row in rows:
    assert row['error'].startswith('MuJoCo cannot simulate this body') and not row['stable_rate']
  page = (tmp_path / 'out' / 'report.html').read_text('utf-8')
  assert page.count('MuJoCo cannot simulate') == 2 and '<tr data-mesh=' not in page


def test_the_page_holds_every_mesh_and_no_markup_of_theirs(swept):
  page = (swept[0] / 'report.html').read_text('utf-8')
  assert page.count('<tr data-mesh=') == 5 and all(name in page for name in BROKEN)
  assert page.count('data:image/png') == 5 and 'http' not in page.split('</style>')[-1]


def test_rollouts_are_pages_beside_the_report(folder, tmp_path):
  status, _, _ = call(tmp_path, f'{folder}/**/*', '--config.rollouts=4')
  links = re.findall('href="(rollouts/[^"]*)"', (tmp_path / 'report.html').read_text('utf-8'))
  assert status == 3 and len(links) == 4 and 'rollouts/pole.stl.html' in links
  assert sorted(links) == sorted(f'rollouts/{path.name}' for path in tmp_path.glob('rollouts/*'))


def test_no_rollouts_unless_asked_for(swept):
  assert not (swept[0] / 'rollouts').exists()


def test_a_list_of_paths_upright_with_the_fast_engine(folder, tmp_path):
  names = tmp_path / 'names.txt'
  names.write_text(f'{folder}/box.glb\n\n{folder}/pole.stl\n')
  status, rows, runs = call(tmp_path / 'out', names, '--config.engine=rest', '--config.tilts.n=0')
  assert status == 0 and [row['engine'] for row in rows] == ['rest', 'rest']
  assert [row['stable_rate'] for row in rows] == ['1', '1'] and len(runs) == 2
  assert {float(row['tilt_deg']) for row in runs} == {0.0}


@pytest.mark.parametrize('args, word', [
    (['--config.engine=bullet'], 'config.engine'), (['--config.up=x'], 'config.up'),
    (['--config.normalize=ball'], 'unit_cube'), (['--config.density=0'], 'config.density'),
    (['--config.rollouts=-1'], 'config.rollouts'),
    (['--config.seconds=-1'], 'config.seconds'), (['--config.tilts.max_deg=200'], 'max_deg'),
    (['--config.meshes=/no/such/*.glb'], 'names no file'), (['--config.meshes='], 'is empty'),
])
def test_a_wrong_command_is_refused_before_anything_is_read(folder, tmp_path, args, word, capsys):
  status, rows, _ = call(tmp_path / 'out', f'{folder}/*.glb', *args)
  message = capsys.readouterr().err
  assert status == 2 and rows is None and word in message and 'Traceback' not in message


def test_only_broken_files_still_make_tables(folder, tmp_path):
  status, rows, runs = call(tmp_path / 'out', folder / 'nan.obj')
  assert status == 3 and len(rows) == 1 and rows[0]['error'] and runs == []


BODIES = """<mujoco><worldbody><body name="a"><freejoint/><geom type="box" size=".1 .2 .3"/></body>
<body name="b"><freejoint/><include file="part.inc"/></body></worldbody></mujoco>"""


@pytest.fixture
def several(tmp_path):
  """A folder of five files with six meshes, one of them broken, and one that is included."""
  (tmp_path / 'in').mkdir()
  for k in range(3):
    trimesh.creation.box((0.2, 0.3, 0.1 + 0.5 * k)).export(tmp_path / 'in' / f'{k}.stl')
  (tmp_path / 'in' / 'broken.obj').write_text('nothing')
  (tmp_path / 'in' / 'two.xml').write_text(BODIES)
  (tmp_path / 'in' / 'part.inc').write_text('<a><geom type="box" size=".1 .1 .4"/></a>')
  return tmp_path


def without_seconds(rows):
  return [{key: value for key, value in row.items() if key != 'seconds'} for row in rows]


def stopped_after(patch, block):
  """SIGTERM during that block of two files, and a list of the files that are read."""
  read, examine = [], sweep_tables.examine
  patch.setattr(sweep, 'FILES', {'native': 2})
  patch.setattr(sweep_tables, 'examine', lambda path, *rest: (read.append(path.name), examine(
      path, *rest))[1])
  patch.setattr(stops.Preemption, 'requested', lambda self, k: (
      self._note(signal.SIGTERM, None) if k == block else None, self.signal)[1])
  return read


def test_a_stopped_sweep_keeps_its_rows_and_goes_on(several, monkeypatch, capsys):
  with monkeypatch.context() as patch:
    read = stopped_after(patch, 0)
    with pytest.raises(SystemExit) as stop:
      call(several / 'out', several / 'in')
    assert stop.value.code == 143 and sorted(read) == ['0.stl', '1.stl']
  rows = list(csv.DictReader((several / 'out' / 'results.csv').open()))
  assert [row['mesh'] for row in rows] == ['0.stl', '1.stl']
  assert 'after 2 of 5 files' in capsys.readouterr().out
  with monkeypatch.context() as patch:
    read = stopped_after(patch, -1)
    status, rows, runs = call(several / 'out', several / 'in')
    assert status == 3 and sorted(read) == ['2.stl', 'broken.obj', 'two.xml']
    status, whole, whole_runs = call(several / 'whole', several / 'in')
  assert [row['mesh'] for row in rows][-3:] == ['broken.obj', 'two.xml#a', 'two.xml#b']
  assert without_seconds(rows) == without_seconds(whole) and runs == whole_runs
  pages = [(several / name / 'report.html').read_text() for name in ('out', 'whole')]
  assert pages[0] == pages[1]


def test_changed_files_are_judged_again(several, monkeypatch):
  monkeypatch.setattr(sweep_page, 'write_page', lambda *args: None)
  call(several / 'out', several / 'in')
  (several / 'in' / 'part.inc').write_text('<a><geom type="sphere" size=".4"/></a>')
  with monkeypatch.context() as patch:
    read = stopped_after(patch, -1)
    call(several / 'out', several / 'in')  # other blocks than before
    read.clear()
    (several / 'in' / 'part.inc').write_text('<a><geom type="box" size=".1 .1 .6"/></a>')
    _, rows, _ = call(several / 'out', several / 'in')
    assert read == ['two.xml']
    assert float(rows[-1]['volume']) == pytest.approx(0.048, rel=1e-5)
    read.clear()
    os.utime(several / 'in' / '0.stl', ns=(0, 0))
    call(several / 'out', several / 'in')
    assert sorted(read) == ['0.stl', '1.stl']
    read.clear()
    call(several / 'out', several / 'in', '--config.rollouts=1', '--allow_change')
    assert read == [] and (several / 'out' / 'rollouts').exists()
    call(several / 'out', several / 'in', '--config.density=2', '--allow_change')
    assert len(read) == 5


@pytest.mark.slow
@pytest.mark.parametrize('number, status', [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_to_the_process_loses_at_most_a_block(number, status, tmp_path):
  (tmp_path / 'in').mkdir()
  for k in range(48):
    trimesh.creation.box((0.2, 0.3, 0.2 + 0.01 * k)).export(tmp_path / 'in' / f'{k:02}.stl')
  args = commands.arguments(
      'stability_sweep', '--config.meshes', tmp_path / 'in', '--workdir', tmp_path / 'out',
      '--config.seconds=2')
  process = subprocess.Popen(args, cwd=commands.ROOT, env=commands.environment())
  table, deadline = tmp_path / 'out' / 'results.csv', time.monotonic() + commands.TIMEOUT
  while not (table.exists() and table.read_text().count('\n') > 1):
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.01)
  process.send_signal(number)
  assert process.wait(commands.TIMEOUT) == status
  text = table.read_text()
  assert text.endswith('\n') and 17 <= text.count('\n') < 49
  first = {line.split(',')[12] for line in text.splitlines()[1:17]}
  assert subprocess.run(args, cwd=commands.ROOT, env=commands.environment(), check=False,
                        timeout=commands.TIMEOUT).returncode == 0
  rows = list(csv.DictReader(table.open()))
  assert len(rows) == 48 and {row['seconds'] for row in rows[:16]} == first


def leaner():
  """A prism that leans along x with z up, where it falls; with y up it lies on a side."""
  box = trimesh.creation.box((1.0, 1.0, 2.0))
  box.vertices[:, 0] += 1.5 * box.vertices[:, 2]
  return box


def test_a_hint_where_the_other_axis_up_changes_the_verdict(tmp_path, monkeypatch):
  monkeypatch.setattr(sweep_page, 'write_page', lambda *args: None)
  for name in ('a.obj', 'b.stl', 'c.glb'):
    leaner().export(tmp_path / name)
  trimesh.creation.box((1, 1, 1)).export(tmp_path / 'd.obj')
  notes = {}
  for up in ('auto', 'z', 'y'):
    _, rows, _ = call(tmp_path / up, tmp_path, f'--config.up={up}', '--config.tilts.n=0')
    notes[up] = {row['mesh']: (row['note'], row['stable_rate']) for row in rows}
  hint = ('up=y? (with y up it stands)', '0')
  assert notes['auto'] == {'a.obj': hint, 'b.stl': hint, 'c.glb': ('', '1'), 'd.obj': ('', '1')}
  assert notes['z']['a.obj'] == ('', '0') and notes['y']['a.obj'] == ('', '1')


def test_urdf_is_named_and_no_list_of_paths(tmp_path):
  (tmp_path / 'robot.urdf').write_text('<robot name="r"><link name="l"/></robot>')
  status, rows, _ = call(tmp_path / 'out', tmp_path / 'robot.urdf')
  assert status == 3 and len(rows) == 1 and 'URDF' in rows[0]['error']

"""`python -m experiments.stability_sweep`: tables, page, broken files, refusals."""

import csv
import os
import re

import numpy as np
import pytest
import trimesh

from experiments import _command, stability_sweep
from jax3dgen.core import launch
from jax3dgen.export import sweep_tables
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

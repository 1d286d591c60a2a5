"""`python -m experiments.compare` with its tiny config, and its table by hand."""

import pytest

from benchmarks import objectives
from configs import compare_janus
from experiments import _command, compare
from jax3dgen.core import launch
from jax3dgen.recipes.compare import methods as compare_methods
from jax3dgen.recipes.compare import page
from jax3dgen.recipes.compare import run as comparing
from jax3dgen.recipes.distill import run as distill
from tests import commands


def row(method, seed, faces=1, winding=1.0, kl=0.0, failed=''):
  found = {'method': method, 'prompt': 'a red bear', 'seed': seed, 'failed': failed}
  return found if failed else found | {
      'face_count': faces, 'winding': winding, 'view_kl': kl, 'kind_correct': True,
      'color_correct': seed == 0, 'reject_rate': 0.25, 'seconds': 60.0, 'steps': 800,
      'history': [{'step': step, 'face_count': 1 + (step > 400), 'winding': 1.0, 'view_kl': 0.0}
                  for step in (100, 200, 400, 800)]}


def test_janus_free_is_one_face_and_all_sides_in_order():
  assert page.janus_free(row('sds', 0))
  for other in (row('sds', 0, faces=2), row('sds', 0, faces=0), row('sds', 0, winding=-1.0),
                row('sds', 0, kl=0.06), row('sds', 0, failed='an empty field')):
    assert not page.janus_free(other)


def test_tables_count_every_cell():
  text = page.text([row('sds', 0, faces=2, kl=0.5), row('sds', 1), row('vsd', 0),
                    row('vsd', 1, failed='fog'), row('vsd', 2) | {'together': 4}], 'command')
  first, by_prompt, equal = text.split('\n## ')
  cells = lambda part, name: next(line for line in part.splitlines()
                                  if line.startswith(f'| {name} ')).split(' | ')
  sds, vsd = cells(first, 'sds'), cells(first, 'vsd')
  assert sds[1].startswith('1 of 2 (') and sds[2:5] == ['1', '0', '1']
  assert sds[7:9] == ['0.25', '0.25'] and sds[10] == '60.00'
  assert vsd[1].startswith('2 of 3 (') and vsd[2:5] == ['2', '0', '0'] and vsd[9] == '1'
  assert 'none 0, several 1' in cells(by_prompt, 'sds')[1]
  # 2 rows x 800 steps for SDS: at six rows a step, VSD has come to its preview of step 200.
  assert cells(equal, 'sds')[1:3] == ['2', '800'] and cells(equal, 'sds')[3].startswith('0 of 2')
  assert cells(equal, 'vsd')[1:3] == ['6', '200'] and cells(equal, 'vsd')[3].startswith('2 of 2')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['usd', 'sds_rectified_conditional', 'sds_rectified_noisy'])
def test_rows_of_the_denoiser_are_those_of_a_traced_step(name):
  assert compare_methods.calls(name) == sum(objectives.rows(objectives.parts_of(name)))


def call(workdir, *args):
  config = commands.ROOT / 'configs' / 'compare_janus.py:tiny'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(
        compare.run, compare.__doc__, config='configs/compare_janus.py',
        argv=[f'--config={config}', f'--workdir={workdir}', *args])


def test_cells_are_made_once_and_kept(tmp_path, monkeypatch, capsys):
  assert call(tmp_path) in (0, 3)
  assert '| csd |' in (tmp_path / 'compare.md').read_text()
  assert len(list((tmp_path / 'cells').glob('*/a-red-bear*.json'))) == 1
  assert not list((tmp_path / 'runs').glob('*/*'))
  monkeypatch.setattr(distill, 'run', lambda *args: pytest.fail('a finished cell was run again'))
  cells = f'--config.compare.cells={tmp_path / "cells"}'
  assert call(tmp_path / 'again', cells) in (0, 3)
  assert '| csd |' in (tmp_path / 'again' / 'compare.md').read_text()
  assert call(tmp_path / 'count', cells, '--config.compare.seeds=0') in (0, 3)
  assert '| csd |' in (tmp_path / 'count' / 'compare.md').read_text()
  capsys.readouterr()
  assert call(tmp_path / 'none', '--config.compare.seeds=0') == 2
  assert 'no finished cells' in capsys.readouterr().err
  assert call(tmp_path / 'other', cells, '--config.train.steps=11') == 2
  assert 'were made with config.train.steps=10, not 11' in capsys.readouterr().err


def test_prompts_may_stand_in_a_file(tmp_path):
  (tmp_path / 'some.txt').write_text('a green car\na gray rocket\n')
  config = compare_janus.get_config()
  assert comparing.asked(config) == compare_janus.PROMPTS
  config.compare.prompts_file = str(tmp_path / 'some.txt')
  assert comparing.asked(config) == ['a green car', 'a gray rocket']


def test_unknown_methods_are_refused(tmp_path, capsys):
  assert call(tmp_path / 'x', '--config.compare.methods=("usdd",)') == 2
  assert 'is none of sds' in capsys.readouterr().err

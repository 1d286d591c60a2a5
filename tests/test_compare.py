"""`python -m experiments.compare` with its tiny config, and its table by hand."""

import numpy as np
import pytest
from scipy import stats

from experiments import _command, compare
from jax3dgen.core import launch
from jax3dgen.train import compare as comparing
from jax3dgen.train import distill
from tests import commands


def row(method, seed, faces=1, winding=1.0, kl=0.0, failed=''):
  found = {'method': method, 'prompt': 'a red bear', 'seed': seed, 'failed': failed}
  return found if failed else found | {
      'face_count': faces, 'winding': winding, 'view_kl': kl, 'kind_correct': True,
      'color_correct': seed == 0, 'reject_rate': 0.25, 'seconds': 60.0}


def test_janus_free_is_one_face_and_all_sides_in_order():
  assert comparing.janus_free(row('sds', 0))
  for other in (row('sds', 0, faces=2), row('sds', 0, faces=0), row('sds', 0, winding=-1.0),
                row('sds', 0, kl=0.06), row('sds', 0, failed='an empty field')):
    assert not comparing.janus_free(other)


@pytest.mark.parametrize('hits, count', [(0, 5), (3, 8), (29, 29)])
def test_interval_is_wilson_s(hits, count):
  expected = stats.binomtest(hits, count).proportion_ci(0.95, 'wilson')
  np.testing.assert_allclose(comparing.interval(hits, count), (expected.low, expected.high),
                             atol=1e-4)


def test_table_counts_every_cell():
  page = comparing.markdown([row('sds', 0, faces=2, kl=0.5), row('sds', 1), row('vsd', 0),
                             row('vsd', 1, failed='fog')], 'command')
  lines = {line.split(' | ')[0]: line for line in page.splitlines() if line.startswith('| ')}
  assert '| 1 of 2 |' in lines['| sds'] and '| 1 of 2 |' in lines['| vsd']
  table = page.partition('## Janus-free')[0].splitlines()
  sds, vsd = (next(line for line in table if line.startswith(f'| {name} ')).split(' | ')
              for name in ('sds', 'vsd'))
  assert sds[3:6] == ['1', '0', '1'] and sds[7] == '0.50' and sds[8] == '0.25'
  assert vsd[3:6] == ['1', '0', '0'] and vsd[10] == '1'


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


def test_unknown_methods_are_refused(tmp_path, capsys):
  assert call(tmp_path / 'x', '--config.compare.methods=("usdd",)') == 2
  assert 'is none of sds' in capsys.readouterr().err

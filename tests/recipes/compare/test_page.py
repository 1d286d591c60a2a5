"""The tables of a comparison by hand, and those of docs/results from the rows there."""

import numpy as np
from PIL import Image
import pytest

from configs import compare_janus
from jax3dgen.export import turntable
from jax3dgen.prior import words
from jax3dgen.recipes.compare import page, table
from jax3dgen.recipes.compare import run as comparing
from tests import commands

RESULTS = commands.ROOT / 'docs' / 'results'


def row(method, seed, faces=1, winding=1.0, kl=0.0, failed=''):
  names = {'method': method, 'prompt': 'a red bear', 'seed': seed, 'failed': failed}
  return names if failed else names | {
      'face_count': faces, 'winding': winding, 'view_kl': kl, 'kind_correct': True,
      'color_correct': seed == 0, 'reject_rate': 0.25, 'seconds': 60.0, 'steps': 800,
      'history': {'step': [100, 200, 400, 800], 'face_count': [1, 1, 1, 2],
                  'winding': [1.0] * 4, 'view_kl': [0.0] * 4}}


def test_janus_free_is_one_face_and_all_sides_in_order():
  assert page.janus_free(row('sds', 0))
  for other in (row('sds', 0, faces=2), row('sds', 0, faces=0), row('sds', 0, winding=-1.0),
                row('sds', 0, kl=0.06), row('sds', 0, failed='an empty field')):
    assert not page.janus_free(other)


def test_tables_count_every_run():
  text = page.text([row('sds', 0, faces=2, kl=0.5), row('sds', 1), row('vsd', 0),
                    row('vsd', 1, failed='fog'), row('vsd', 2) | {'batched': 4, 'seconds': 1.0}],
                   'command', {'sds': 2, 'vsd': 6})
  first, by_prompt, equal = text.split('\n## ')
  cells = lambda part, name: next(line for line in part.splitlines()
                                  if line.startswith(f'| {name} ')).split(' | ')
  sds, vsd = cells(first, 'sds'), cells(first, 'vsd')
  assert sds[1].startswith('1 of 2 (') and sds[2:5] == ['1', '0', '1']
  assert sds[7:9] == ['0.25', '0.25'] and sds[10] == '60.00'
  assert vsd[1].startswith('2 of 3 (') and vsd[2:5] == ['2', '0', '0'] and vsd[9] == '1'
  assert vsd[10] == '60.00'  # of whole runs
  assert 'none 0, several 1' in cells(by_prompt, 'sds')[1]
  # 2 rows x 800 steps for SDS: at six rows a step, VSD has come to its preview of step 200.
  assert cells(equal, 'sds')[1:3] == ['2', '800'] and cells(equal, 'sds')[3].startswith('0 of 2')
  assert cells(equal, 'vsd')[1:3] == ['6', '200'] and cells(equal, 'vsd')[3].startswith('2 of 2')


def test_a_page_of_failed_runs():
  text = page.text([row('sds', 0, failed='fog')], 'command', {'sds': 2})
  assert '| sds | 0 of 1 (' in text and '| sds | 2 | none | no runs |' in text


def test_pictures_have_a_row_for_each_strip_in_the_folder(tmp_path):
  rows = [row('sds', 0), row('vsd', 0), row('usd', 0, failed='fog'), row('csd', 0), row('sds', 1)]
  assert page.picture(rows, tmp_path, 'a red bear', 0) is None
  for method, shade in (('sds', 0.2), ('csd', 0.6)):
    turntable.write_png(tmp_path / method / f'{words.slug("a red bear")}-00.png',
                        np.full((8, 64, 3), shade))
  picture = page.picture(rows, tmp_path, 'a red bear', 0)
  assert picture.shape[0] == 3 * 8  # sds, the failed usd in white, csd; vsd has no strip
  assert [picture[y, -1, 0] for y in (4, 12, 20)] == [51, 255, 153]


@pytest.mark.parametrize('study, parts', [
    ('plain', 3), ('phrases', 2), ('validation', 2), ('held_out', 2)])
def test_tables_of_the_janus_page_are_those_of_its_rows(study, parts):
  text = (RESULTS / 'janus.md').read_text(encoding='utf-8')
  rows = table.of_study(table.read(RESULTS / 'janus.jsonl'), study)
  config = compare_janus.get_config()
  rows_per_step = {method: comparing.denoiser_rows(config, method)
                   for method in {row['method'] for row in rows}}
  computed = page.text(rows, 'command', rows_per_step).split('\n## ')[:parts]
  lines = [line for part in computed for line in part.splitlines() if line.startswith('|')]
  assert len(lines) >= parts * (2 + len(rows_per_step))
  for line in lines:
    assert line in text, line


def test_pictures_of_a_page_are_at_most_a_dozen():
  for path in RESULTS.glob('*.md'):
    text = path.read_text(encoding='utf-8')
    assert text.count('../pictures/') <= 12, path.name
    for line in text.splitlines():
      if '](../pictures/' in line:
        Image.open(RESULTS / line.rpartition('](')[2].rstrip(')')).verify()

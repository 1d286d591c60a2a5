"""Tables of finished runs: written and read, joined, and those of docs/results."""

import json

import pytest

from jax3dgen.core import files
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.compare import table
from tests import commands

TABLES = [commands.ROOT / 'docs' / 'results' / name for name in ('janus.jsonl', 'diversity.jsonl')]
SETTINGS = {'sds': {'a.x': 1, 'a.y': None, 'b': [1, 2.0]},
            'usd': {'a.x': 1.0, 'a.y': None, 'b': [1, 2.0], 'c': True}}


def row(method, seed, prompt='a red bear', **figures):
  return {'method': method, 'prompt': prompt, 'seed': seed, 'failed': ''} | figures


def test_rows_and_settings_come_back_to_the_last_digit(tmp_path):
  rows = [row('sds', 0, view_kl=0.1 + 0.2, winding=-3.794549385816026e-08, stable=True,
              nothing=None, history={'step': [5, 10], 'view_kl': [1e-300, 2 / 3]}),
          row('usd', 0, 'a "red" b\u00e4r\u2028\n', metrics={'opacity': 1.0})]
  written = table.merged(table.Table([], {}), 'plain', rows, SETTINGS)
  table.write(tmp_path / 'x.jsonl', written)
  again = table.read(tmp_path / 'x.jsonl')
  spelled = lambda settings: json.dumps(settings, sort_keys=True)  # 1 is not 1.0
  assert spelled(again.settings) == spelled({'plain': SETTINGS})
  assert json.dumps(again.rows) == json.dumps(written.rows)
  assert [{name: value for name, value in r.items() if name in rows[i]}
          for i, r in enumerate(again.rows)] == rows
  lines = files.read_lines(tmp_path / 'x.settings.jsonl')
  assert spelled([line['settings'] for line in lines]) == spelled([
      {'a.y': None, 'b': [1, 2.0]}, {'a.x': 1}, {'a.x': 1.0, 'c': True}])


def test_merging_sorts_and_keeps_what_is_in_the_table():
  first = table.merged(table.Table([], {}), 'one', [row('usd', 1, x=1)], SETTINGS)
  second = table.merged(first, 'two', [row('sds', 0)], SETTINGS)
  more = [row('sds', 0), row('usd', 10), row('usd', 2, 'a blue penguin'), row('usd', 1, x=2),
          row('usd', 0)]
  third = table.merged(second, 'one', more, {
      'sds': SETTINGS['sds'], 'usd': SETTINGS['usd'] | {'new.field': 0}})
  assert [(r['study'], *table.run_of(r)) for r in third.rows] == [
      ('one', 'usd', 'a blue penguin', 2), ('one', 'usd', 'a red bear', 0),
      ('one', 'usd', 'a red bear', 1), ('one', 'usd', 'a red bear', 10),
      ('one', 'sds', 'a red bear', 0), ('two', 'sds', 'a red bear', 0)]
  assert [r['x'] for r in third.rows if 'x' in r] == [1]
  assert third.settings['one']['usd'] == SETTINGS['usd'] and set(third.settings['two']) == {'sds'}
  assert table.merged(third, 'one', more, SETTINGS) == third


def test_damaged_tables_are_refused(tmp_path):
  path = tmp_path / 'x.jsonl'
  with pytest.raises(ConfigError, match='no file'):
    table.read(path)
  whole = table.merged(table.Table([], {}), 'plain', [row('sds', 0)], SETTINGS)
  table.write(path, whole)
  text = path.read_text()
  for damaged in (text[:-3], text.replace('"sds"', '"usd"'), '[]\n'):
    path.write_text(damaged)
    with pytest.raises(ConfigError, match='damaged'):
      table.read(path)
  path.write_text(text)
  table.write(tmp_path / 'y.jsonl', whole._replace(settings={'plain': {'sds': SETTINGS['usd']}}))
  (tmp_path / 'y.settings.jsonl').rename(tmp_path / 'x.settings.jsonl')
  with pytest.raises(ConfigError, match='other settings'):
    table.read(path)


@pytest.mark.parametrize('path', TABLES, ids=lambda path: path.stem)
def test_tables_of_the_results_are_whole_and_in_order(path):
  rows, settings = table.read(path)
  for study in settings:
    of_study = table.of_study(table.Table(rows, settings), study)
    assert table.joined(of_study, []) == of_study  # sorted, and no run twice
    assert {row['method'] for row in of_study} == set(settings[study])
  text = path.read_text(encoding='utf-8')
  assert ''.join(json.dumps(row) + '\n' for row in rows) == text

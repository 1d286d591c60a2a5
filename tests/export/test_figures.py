import pytest

from jax3dgen.export import figures

GOOD = {
    'prompt': 'a red bear', 'steps': 1500, 'seed': 0, 'seconds': 272.4, 'params_digest': 'ab' * 32,
    'face_count': 1, 'view_kl': 0.0123, 'winding': 1.0, 'kind_correct': True, 'color_correct': True,
    'stable': True, 'rotation_deg': 2.13, 'body': 'exact', 'vertices': 26268, 'faces': 52480,
    'watertight': True,
}


def rows(result):
  return {row.key: row for group in figures.table(result).values() for row in group}


@pytest.mark.parametrize('seconds, text', [
    (0.25, '0.25 s'), (48.3, '48 s'), (59.7, '1 min 00 s'), (272.4, '4 min 32 s'),
    (7500, '2 h 05 min')])
def test_durations(seconds, text):
  assert figures.duration(seconds) == text


@pytest.mark.parametrize('value, text', [
    (1, '1'), (26268, '26,268'), (1.0, '1'), (0.01234, '0.0123'), (12345.6, '12,346'),
    (float('nan'), 'nan'), (float('inf'), 'inf')])
def test_numbers(value, text):
  assert figures.number(value) == text


def test_every_documented_figure_is_listed_once():
  table = figures.table(GOOD)
  assert 'Further figures' not in table
  rows = [row for group in table.values() for row in group]
  assert sorted(row.key for row in rows) == sorted(GOOD)
  assert all(row.label != row.key and row.value for row in rows)


def test_good_and_bad():
  good = rows(GOOD)
  bad = rows(GOOD | {'face_count': 3, 'winding': 2.0, 'stable': False, 'watertight': False})
  for key in ('face_count', 'winding', 'stable', 'watertight'):
    assert good[key].good is True and bad[key].good is False
  assert good['vertices'].good is None
  assert figures.verdicts(GOOD) == [
      (True, 'One face'), (True, 'Right kind'), (True, 'Right colour'), (True, 'Stands'),
      (True, 'Watertight')]
  assert (False, '3 faces') in figures.verdicts(GOOD | {'face_count': 3})
  assert (False, 'No face') in figures.verdicts(GOOD | {'face_count': 0})


def test_what_is_not_applicable_is_neither_good_nor_bad():
  nothing = GOOD | dict.fromkeys(('face_count', 'stable', 'color_correct'))
  nothing['rotation_deg'] = float('nan')
  for key in ('face_count', 'stable', 'rotation_deg', 'color_correct'):
    assert rows(nothing)[key].value == figures.MISSING and rows(nothing)[key].good is None
  assert figures.verdicts(nothing) == [(True, 'Right kind'), (True, 'Watertight')]


def test_unknown_keys_come_last():
  table = figures.table(GOOD | {'new_score': 0.5})
  assert list(table)[-1] == 'Further figures'
  assert table['Further figures'][0].value == '0.5'

"""Descriptions of the keys of result.json: label, meaning, format, and whether a value is good."""

from collections.abc import Callable
from typing import Any, NamedTuple

MISSING = 'not applicable'


class Figure(NamedTuple):
  """The description of one key of result.json; `write` formats its value."""
  label: str
  meaning: str
  write: Callable[[Any], str]
  good: Callable[[Any], bool] | None = None
  verdict: Callable[[Any], str] | None = None  # two or three words for the head of a page


class Row(NamedTuple):
  """A figure of one run; good is None for a figure without a criterion."""
  key: str
  label: str
  meaning: str
  value: str
  good: bool | None


def number(value, digits=3):
  """A number with `digits` significant digits and thousands separators."""
  if isinstance(value, float) and not value.is_integer():
    return f'{value:,.{digits}g}' if abs(value) < 1e3 else f'{value:,.0f}'
  return f'{value:,.0f}'


def duration(seconds):
  """Seconds as '48 s', '4 min 32 s' or '2 h 05 min'."""
  if seconds < 10:
    return f'{seconds:.2g} s'
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours} h {minutes:02d} min'
  return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def plain(value):
  """Any value of result.json as text."""
  if value is None:
    return MISSING
  if isinstance(value, bool):
    return 'yes' if value else 'no'
  return number(value) if isinstance(value, int | float) else str(value)


def _unit(name):
  return lambda value: f'{number(value)} {name}'


def _percent(value):
  return f'{100 * value:.0f} %'


def _degrees(value):
  return f'{value:.1f}°'


def _faces(count):
  return {0: 'No face', 1: 'One face'}.get(count, f'{count} faces')


def _choose(yes, no):
  return lambda value: yes if value else no


GROUPS = {
    'What it shows': {
        'face_count': Figure('Faces counted', '1 is right, 0 is no face, more is the Janus problem',
                             number, lambda v: v == 1, _faces),
        'face_arc_deg': Figure('Arc that shows a face', 'of the full circle of 360°', _degrees),
        'kind_correct': Figure('Kind as in the prompt', 'the referee predicts that of the prompt',
                               plain, bool, _choose('Right kind', 'Wrong kind')),
        'kind_seen': Figure('Kind seen', 'over all views', plain),
        'color_correct': Figure('Colour as in the prompt',
                                'the referee predicts that of the prompt', plain, bool,
                                _choose('Right colour', 'Wrong colour')),
        'color_seen': Figure('Colour seen', 'over all views', plain),
        'reject_rate': Figure('Views that show no known object', '0 % is best', _percent),
    },
    'Views round the object': {
        'winding': Figure('Turns of the view angle', 'while the camera goes round once; 1 is right',
                          number, lambda v: round(v) == 1),
        'view_kl': Figure('Imbalance of the views',
                          'divergence from equal shares of all sides; 0 is best, 1.39 the worst',
                          _unit('nats')),
        'front_fraction': Figure('Share that looks like a front', '25 % is right', _percent),
    },
    'Standing': {
        'stable': Figure('Stands after the drop', 'in the rigid-body simulation', plain, bool,
                         _choose('Stands', 'Falls over')),
        'rotation_deg': Figure('Turned during the drop', 'from its generated pose', _degrees),
        'flat_cut': Figure('Cut off below', 'the smallest share after which it stands', _percent),
        'stable_uncut': Figure('Stands without the cut', 'as generated', plain, bool),
        'rotation_deg_uncut': Figure('Turned without the cut', 'as generated', _degrees),
        'body': Figure('Solid that was dropped',
                       'exact: the mesh itself; repaired: after repairs; hull: its convex hull',
                       plain),
    },
    'Mesh': {
        'vertices': Figure('Vertices', '', number),
        'faces': Figure('Triangles', '', number),
        'watertight': Figure('Watertight', 'closed, so that it has a volume and can be printed',
                             plain, bool, _choose('Watertight', 'Not watertight')),
    },
    'Run': {
        'prompt': Figure('Prompt', '', plain),
        'steps': Figure('Steps', 'of the optimiser', number),
        'seed': Figure('Seed', '', plain),
        'seconds': Figure('Time taken', 'of the last process of the run, with its images',
                          duration),
        'peak_memory_gib': Figure('Peak memory', 'of the process or of its fullest device',
                                  _unit('GiB')),
        'params_digest': Figure('Digest of the parameters',
                                'SHA-256 of the final field: equal runs have equal digests', plain),
        'config_digest': Figure('Digest of the configuration', 'SHA-256', plain),
    },
}


def table(result):
  """{group: [Row]} of the figures that `result` holds; keys without a description come last."""
  described = {key for group in GROUPS.values() for key in group}
  groups = {
      title: [_row(key, figure, result[key]) for key, figure in group.items() if key in result]
      for title, group in GROUPS.items()}
  groups['Further figures'] = [_row(key, Figure(key, '', plain), value)
                               for key, value in result.items() if key not in described]
  return {title: rows for title, rows in groups.items() if rows}


def verdicts(result):
  """[(good, headline)] of the figures with a verdict."""
  return [(bool(figure.good(result[key])), figure.verdict(result[key]))
          for group in GROUPS.values() for key, figure in group.items()
          if figure.verdict and result.get(key) is not None]


def _row(key, figure, value):
  missing = value is None or value != value  # None or NaN
  good = bool(figure.good(value)) if figure.good and not missing else None
  return Row(key, figure.label, figure.meaning, MISSING if missing else figure.write(value), good)

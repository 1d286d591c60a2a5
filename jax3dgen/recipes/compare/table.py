"""Tables of finished runs: a JSON line for each run, and the settings of each method beside them.

A row is a dict: `study`, `method`, `prompt`, `seed`, `settings` (a digest of its method's
settings), `failed` (why the run failed, or ''), then the figures of the run; `history` has those of
its previews, a list for each figure. The rows of a study are ordered by method, prompt and seed.

TABLE.settings.jsonl beside TABLE.jsonl has a line for each method of each study with its settings,
{dotted config field: value}; what the methods of a study have in common stands once, in a first
line for the method '*'.
"""

import hashlib
import json
import pathlib
from typing import NamedTuple

from jax3dgen.core import files
from jax3dgen.core.errors import ConfigError
from jax3dgen.prior import words

COMMON = '*'  # stands for all methods of a study


class Table(NamedTuple):
  """`rows`, a list of dicts, and `settings`, {study: {method: {field: value}}}."""
  rows: list
  settings: dict


def read(path):
  """The Table in a file; ConfigError where it is missing, damaged or at odds with its settings."""
  try:
    rows, lines = files.read_lines(path), files.read_lines(settings_path(path))
    settings = expanded(lines)
    mismatches = [row for row in rows
                 if row['settings'] != digest(settings[row['study']][row['method']])]
  except FileNotFoundError as error:
    raise ConfigError(f'config.compare.table: there is no file {error.filename}.') from error
  except (ValueError, KeyError, TypeError) as error:
    raise ConfigError(f'{path} or {settings_path(path)} is damaged: {error!r}.') from error
  if mismatches:
    raise ConfigError(f'{settings_path(path)} has other settings than the rows of '
                      f'{mismatches[0]["method"]!r} in {path} were made with.')
  return Table(rows, settings)


def write(path, table):
  """Writes a Table; settings first, so that a row is never without its own."""
  files.write_lines(settings_path(path), factored(table.settings))
  files.write_lines(path, table.rows)


def merged(table, study, rows, settings):
  """The Table with further `rows` of a study, whose methods have `settings` {method: {field:
  value}}.

  Of two rows of one run, and of two settings of a method, those of the table remain. Rows of other
  studies remain as they are; a new study comes last.
  """
  stored = table.settings.get(study, {})
  stored = stored | {row['method']: settings[row['method']] for row in rows
                     if row['method'] not in stored}
  head = lambda row: {'study': study, 'method': row['method'], 'prompt': row['prompt'],
                      'seed': row['seed'], 'settings': digest(stored[row['method']]),
                      'failed': row['failed']}
  joint = [head(row) | row for row in joined(of_study(table, study), rows)]
  studies = dict.fromkeys([*(row['study'] for row in table.rows), study])
  return Table([row for name in studies
                for row in (joint if name == study else of_study(table, name))],
               table.settings | {study: stored})


def of_study(table, study):
  """The rows of one study."""
  return [row for row in table.rows if row['study'] == study]


def run_of(row):
  """What tells a run from the others of its study: (method, prompt, seed)."""
  return row['method'], row['prompt'], row['seed']


def joined(first, second):
  """The rows of two lists in the order of a table; of two of one run the first list's.

  Methods are in the order in which they appear.
  """
  order = list(dict.fromkeys(row['method'] for row in [*first, *second]))
  rows = {run_of(row): row for row in [*second, *first]}
  return sorted(rows.values(), key=lambda row: (
      order.index(row['method']), words.slug(row['prompt']), row['seed']))


def settings_path(path):
  """The file of settings beside a table."""
  return pathlib.Path(path).with_suffix('.settings.jsonl')


def digest(settings):
  """The first 12 hex digits of the SHA-256 of {field: value}."""
  return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def factored(settings):
  """The lines of {study: {method: {field: value}}}, with what a study has in common first."""
  lines = []
  for study, methods in settings.items():
    texts = [{(field, json.dumps(value)) for field, value in fields.items()}
             for fields in methods.values()]
    common = {field for field, _ in set.intersection(*texts)}
    first = next(iter(methods.values()))
    lines.append({'study': study, 'method': COMMON,
                  'settings': {field: first[field] for field in sorted(common)}})
    lines += [{'study': study, 'method': method,
               'settings': {field: fields[field] for field in sorted(fields.keys() - common)}}
              for method, fields in methods.items()]
  return lines


def expanded(lines):
  """The inverse of `factored`."""
  settings, common = {}, {}
  for line in lines:
    study, method = line['study'], line['method']
    if method == COMMON:
      settings[study], common = {}, line['settings']
    else:
      settings[study][method] = common | line['settings']
  return settings

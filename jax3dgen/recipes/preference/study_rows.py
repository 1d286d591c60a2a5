"""The rows of a study: tuning runs by several seeds, a JSON line for each model of each run.

A study's config has `table`, `seeds` and `first_seed`. Rows that the table or the workdir holds are
not computed again.
"""

import pathlib
from typing import Any, NamedTuple

from jax3dgen.core import files, parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.distill import outputs
from jax3dgen.train import workdir as workdirs

BASE = 'base'  # the name of the rows before any tuning


class Task(NamedTuple):
  """A run, or an evaluation without tuning, of one seed: its name, ConfigDict, and the names of the
  models that have rows."""
  name: str
  seed: int
  settings: Any
  models: tuple
  tuned: bool

  @property
  def head(self):
    """The fields that its rows have in common."""
    return {'name': self.name, 'seed': self.seed,
            'settings': outputs.config_digest(self.settings)[:12]}

  @property
  def keys(self):
    """The `key` of each of its rows."""
    return [(self.name, self.seed, model) for model in self.models]


def key(row):
  """(name, seed, model), which a table has once."""
  return row['name'], row['seed'], row['model']


def seeds(config):
  """The seeds of a study."""
  return range(config.first_seed, config.first_seed + config.seeds)


def check(config, runs, settings_of, check_settings):
  """ConfigError for invalid seeds, for runs ((name, changes), ...) of one name, and for changes
  that do not fit. settings_of(changes) is the ConfigDict of a run, which check_settings checks.
  """
  if config.seeds < 0 or config.first_seed < 0:
    raise ConfigError('config.seeds and config.first_seed must be 0 or more.')
  names = [BASE, *(name for name, _ in runs)]
  if len(set(names)) < len(names):
    raise ConfigError(f'The study has two runs of one name, or one named {BASE!r}.')
  for name, changes in runs:
    try:
      settings = settings_of(changes)
    except (KeyError, TypeError, AttributeError) as error:
      raise ConfigError(f'The changes of {name!r} do not fit: {error}.') from error
    check_settings(settings)


def run(config, workdir, tasks, compute):
  """[row] of all tasks, those of config.table included; new rows are in workdir/rows.jsonl.

  compute(task) yields the rows of a Task. ConfigError where a row of the table was made with other
  settings.
  """
  workdir = pathlib.Path(workdir)
  with workdirs.lock(workdir):
    table = {key(row): row for path in (config.table, workdir / 'rows.jsonl') if path
             for row in read(path)}
    for task in tasks:
      if missing(table, task):
        for row in compute(task):
          table[key(row)] = row
          parallel.from_main(write, workdir / 'rows.jsonl', table)
  return [table[name] for task in tasks for name in task.keys]


def missing(table, task):
  """Whether a row of the task is not in the table; ConfigError where it has other settings."""
  for name in task.keys:
    if name in table and table[name]['settings'] != task.head['settings']:
      raise ConfigError(f'The row of {task.name!r}, seed {task.seed}, in the table was made with '
                        'other settings; remove it, or give the run another name.')
  return not all(name in table for name in task.keys)


def read(path):
  """The rows of a table; [] where there is no file, ConfigError where it is damaged."""
  try:
    return files.read_lines(path)
  except FileNotFoundError:
    return []
  except ValueError as error:
    raise ConfigError(f'{path} is damaged: {error}.') from error


def write(path, table):
  """Writes the rows of {key: row} as JSON lines."""
  with workdirs.writing(path):
    files.write_lines(path, table.values())


def merge(config, workdir):
  """Adds the rows of workdir/rows.jsonl that config.table lacks; returns their number."""
  table = {key(row): row for row in read(config.table)}
  rows = {key(row): row for row in read(pathlib.Path(workdir) / 'rows.jsonl')}
  more = {name: row for name, row in rows.items() if name not in table}
  write(config.table, table | more)
  return len(more)

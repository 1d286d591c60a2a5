"""docs/results/dso.md against the rows beside it."""

import pytest

from experiments import _config
from jax3dgen.recipes.preference import study, study_page, study_rows
from tests.commands import ROOT

RESULTS = ROOT / 'docs' / 'results'
PARTS = ('main', 'rivals', 'steps')


@pytest.mark.parametrize('part', PARTS)
def test_the_tables_are_those_of_the_rows(part):
  config = _config.load(str(ROOT / 'configs' / f'dso_study.py:{part}'))[1]
  table = {study_rows.key(row): row for row in study_rows.read(RESULTS / 'dso.jsonl')}
  tasks = study.tasks(config)
  assert not any(study_rows.missing(table, task) for task in tasks)
  rows = [table[key] for task in tasks for key in task.keys]
  page = (RESULTS / 'dso.md').read_text().splitlines()
  lines = study_page.table(rows)
  assert any(page[k:k + len(lines)] == lines for k in range(len(page)))

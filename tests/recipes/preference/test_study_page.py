"""docs/results/dso.md against the rows beside it."""

import pytest

from experiments import _config
from jax3dgen.recipes.preference import study, study_page, study_rows
from tests.commands import ROOT

RESULTS = ROOT / 'docs' / 'results'


@pytest.mark.parametrize('part, runs', [
    ('main', ('base', 'sft', 'dro', 'dpo twice')), ('steps', ('base', 'dro to 480'))])
def test_the_tables_are_those_of_the_rows(part, runs):
  config = _config.load(str(ROOT / 'configs' / f'dso_study.py:{part}'))[1]
  table = {study_rows.key(row): row for row in study_rows.read(RESULTS / 'dso.jsonl')}
  tasks = [task for task in study.tasks(config) if task.name in runs]
  assert not any(study_rows.missing(table, task) for task in tasks)
  lines = study_page.table([table[key] for task in tasks for key in task.keys])
  page = (RESULTS / 'dso.md').read_text(encoding='utf-8').splitlines()
  assert any(page[k:k + len(lines)] == lines for k in range(len(page)))

"""The study on a small prior: its rows, resuming, its tables against a loop."""

import json

import numpy as np
import pytest

from experiments import _config
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.multiview import score, study, study_page
from tests.commands import ROOT
from tests.fakes import views_problem


def config(**changes):
  """The tiny config without training of a metric, with changes {'section__field': value}."""
  c = _config.load(str(ROOT / 'configs' / 'multiview_study.py:tiny'))[1]
  c.loop.lora.pattern, c.loop.evaluation.samples = 'self/', 1  # the programs of `test_run`
  c.runs = (('sft', (('loss.name', 'sft'),)), ('bright', (('score.by', 'metric'),)))
  c.judges, c.pictures = ('bright',), ('sft', 'bright')
  for name, value in changes.items():
    c.update_from_flattened_dict({name.replace('__', '.'): value})
  return c


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
  """(workdir, rows) of a study whose metric is the mean brightness of the views."""
  workdir = tmp_path_factory.mktemp('study')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(score, 'judge', lambda name, weights='': score.Judge(
        lambda references, views, slots: np.asarray(views).mean((1, 2, 3, 4)), name))
    return workdir, study.run(config(), workdir, views_problem.make(config().loop))


def test_rows_of_all_runs(unbroken):
  workdir, rows = unbroken
  assert [(row['name'], row['model']) for row in rows] == [
      ('base', 'base'), ('sft', 'tuned'), ('bright', 'tuned')]
  base, sft, bright = rows
  assert bright['tuning']['pairs'] == 4 and 'pairs' not in sft['tuning']
  assert len({row['digest'] for row in rows}) == 3
  assert len(base['singles']['psnr']) == base['samples'] == 4
  np.testing.assert_allclose(np.mean(sft['singles']['psnr']), sft['psnr'], atol=1e-3)
  np.testing.assert_allclose(base['bright'], base['metric'])
  assert (workdir / 'pictures' / '0.png').is_file()
  assert json.loads(json.dumps(rows)) == rows


def test_a_finished_study_computes_nothing_again(unbroken, monkeypatch):
  workdir, rows = unbroken
  monkeypatch.setattr(study, 'compute', lambda *args: pytest.fail('computed again'))
  assert study.run(config(), workdir) == rows


def test_tables(unbroken):
  """A change and its interval against a bootstrap over objects in a loop."""
  _, rows = unbroken
  text = study_page.text(rows, 'command')
  assert '## Change from the base' in text and '## Change from supervised training' in text
  line = next(line for line in text.split('## Change from supervised training')[1].splitlines()
              if line.startswith('| bright |'))
  value, low, high = (float(x) for x in line.split('|')[3].replace('(', '').replace(
      ')', '').replace('to', '').split())
  difference = np.subtract(rows[2]['singles']['psnr'], rows[1]['singles']['psnr'])
  rng = np.random.default_rng(1)
  draws = [difference[rng.integers(0, 4, 4)].mean() for _ in range(4000)]
  np.testing.assert_allclose([value, low, high], [
      difference.mean(), *np.percentile(draws, [2.5, 97.5])], atol=2e-2)


@pytest.mark.parametrize('changes, sentence', [
    ({'runs': (('a', (('loss.nothing', 1),)),), 'judges': (), 'pictures': ()}, "'a' do not fit"),
    ({'judges': ('other',)}, "name runs; 'other' is none"),
    ({'loop__base__train__steps': 3}, 'config.loop.base.train.steps is 0'),
    ({'seeds': -1}, 'config.seeds')])
def test_invalid_settings_are_refused(changes, sentence, tmp_path):
  with pytest.raises(ConfigError, match=sentence):
    study.run(config(**changes), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()

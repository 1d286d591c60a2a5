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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_finished_study_computes_nothing_again(unbroken, monkeypatch):
  workdir, rows = unbroken
  monkeypatch.setattr(study, 'compute', lambda *args: pytest.fail('computed again'))
  assert study.run(config(), workdir) == rows


def row(name, seed, shift, rng):
  """A row of a table whose PSNR is that of the base, shifted."""
  psnr = np.random.default_rng(seed).normal(22, 2, 12) + shift + rng.normal(0, 0.2, 12)
  singles = {'object': np.repeat(np.arange(6), 2).tolist(), 'psnr': psnr.tolist(),
             'ssim': (psnr / 30).tolist(), 'hands_right': [2] * 12, 'hands_count': [4] * 12,
             'agree_right': [1] * 12, 'agree_count': [2] * 12, 'metric': [1.0 + shift] * 12}
  figures = {'psnr': psnr.mean(), 'ssim': 0.8, 'hands': 0.5, 'agree': 0.5, 'metric': 1.0 + shift,
             'samples': 12, 'spread': None, 'frechet': 2.0}
  tuning = {'tuning': {'pairs': 9, 'agreement': 0.5}} if name == 'bright' else {}
  return {'name': name, 'seed': seed, 'singles': singles} | figures | tuning


def test_tables_against_a_bootstrap_in_a_loop():
  """Over two seeds: a change and its interval, by objects."""
  rng = np.random.default_rng(3)
  rows = [row(name, seed, shift, rng) for seed in (0, 1)
          for name, shift in (('base', 0), ('sft', 0.1), ('bright', 0.4))]
  text = study_page.text(rows, 'command')
  assert '| bright | 2 | 9 | 0.500 |' in text and '## Change from the base' in text
  line = next(line for line in text.split('## Change from supervised training')[1].splitlines()
              if line.startswith('| bright |'))
  value, low, high = (float(x) for x in line.split('|')[3].replace('(', '').replace(
      ')', '').replace('to', '').split())
  of = {name: np.mean([r['singles']['psnr'] for r in rows if r['name'] == name], 0)
        for name in ('sft', 'bright')}
  difference = (of['bright'] - of['sft']).reshape(6, 2).mean(1)
  draws = [difference[rng.integers(0, 6, 6)].mean() for _ in range(4000)]
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

"""The study on leaning towers: its rows, resuming, and its intervals against a loop."""

import json

import numpy as np
import pytest

from experiments import _config
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.preference import (
  evaluate,
  problem,
  study,
  study_page,
  study_pictures,
  study_rows,
)
from jax3dgen.recipes.preference import label as labels
from tests.commands import ROOT
from tests.fakes import tower_generator


def config(**changes):
  c = _config.load(str(ROOT / 'configs' / 'dso_study.py:tiny'))[1]
  c.dso.lora.rank = 2
  c.dso.optim.rate = 0.05
  for name, value in changes.items():
    c.update_from_flattened_dict({name.replace('__', '.'): value})
  return c


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('study')
  return workdir, study.run(config(), workdir, tower_generator.make())


def test_rows_of_all_models(unbroken):
  _, rows = unbroken
  assert [(row['name'], row['model']) for row in rows] == [
      ('base', 'base'), ('base', 'best of 2'), ('base', 'stabilize'),
      ('base', 'base tilts native'), ('dro', 'round 1'),
      ('dro', 'step 3'), ('dro', 'round 1 tilts native'), ('flat cut', 'base'),
      ('guidance', 'base')]
  plain = {(row['name'], row['model']): row for row in rows}
  assert plain['base', 'base']['samples'] == plain['dro', 'step 3']['samples'] == 3
  assert len(plain['dro', 'round 1']['singles']['cut']) == 3
  assert plain['base', 'base']['digest'] != plain['dro', 'round 1']['digest']
  assert plain['flat cut', 'base']['volume'] == plain['base', 'base']['volume']
  assert 0 <= plain['base', 'base tilts native']['stable']['0.02'] <= 1
  best, base = plain['base', 'best of 2'], plain['base', 'base']
  assert best['stable_cut'] >= base['stable_cut'] - 1
  assert plain['base', 'stabilize']['stable_cut'] >= base['stable_cut']
  assert plain['base', 'stabilize']['stable_largest'] == base['stable_largest']


def test_a_finished_study_computes_nothing_again(unbroken, monkeypatch):
  workdir, rows = unbroken
  monkeypatch.setattr(study, 'compute', lambda *args: pytest.fail('computed again'))
  monkeypatch.setattr(problem, 'build', lambda *args: pytest.fail('built again'))
  assert study.run(config(), workdir) == rows


def test_rows_of_a_table_are_not_computed_again(unbroken, tmp_path, monkeypatch):
  workdir, rows = unbroken
  path = tmp_path / 'dso.jsonl'
  assert study_rows.merge(config(table=str(path)), workdir) == len(rows)
  assert study_rows.merge(config(table=str(path)), workdir) == 0
  monkeypatch.setattr(study, 'compute', lambda *args: pytest.fail('computed again'))
  assert study.run(config(table=str(path)), tmp_path / 'other') == rows
  with pytest.raises(ConfigError, match='other settings'):
    study.run(config(table=str(path), dso__loss__beta=7.0), tmp_path / 'third')
  path.write_text(path.read_text()[:-9])
  with pytest.raises(ConfigError, match='damaged'):
    study.run(config(table=str(path)), tmp_path / 'fourth')


@pytest.mark.parametrize('changes, sentence', [
    ({'runs': (('a', (('loss.nothing', 1),)),)}, "'a' do not fit"),
    ({'runs': (('base', ()),)}, 'two runs of one name, or one named'),
    ({'engines': ('sand',)}, 'the engines are'), ({'tilts': 0}, 'config.tilts'),
    ({'runs': (('a', (('loss.name', 'hope'),)),)}, 'config.loss.name')])
def test_invalid_settings_are_refused(changes, sentence, tmp_path):
  with pytest.raises(ConfigError, match=sentence):
    study.run(config(**changes), tmp_path / 'run', tower_generator.make())
  assert not (tmp_path / 'run').exists()


def test_the_page_has_a_line_for_each_model(unbroken):
  _, rows = unbroken
  text = study_page.text(rows, 'command')
  for part in ('| base | base |', '| dro | round 1 |', '| dro | step 3 |', '| flat cut | base |',
               '## Under tilts', '| dro | round 1 tilts native |'):
    assert part in text
  assert json.loads(json.dumps(rows)) == rows


def test_intervals_are_those_of_a_bootstrap_over_images():
  """A ratio of two paired figures: the mean and quantiles of resampled images, in a loop."""
  rng = np.random.default_rng(1)
  image = np.repeat(np.arange(20), 2)
  ours, theirs = rng.normal(2, .3, 40), rng.normal(1, .2, 40)
  row = lambda x: {'singles': {'image': image.tolist(), 'chamfer': x.tolist()}}
  cell = study_page.interval(study_page.ratio, [(row(ours), row(theirs))], 'chamfer', '{:.3f}')
  value, low, high = (float(x.strip('()')) for x in cell.replace(' to ', ' ').split())
  draws = []
  for _ in range(4000):
    index = [k for i in rng.integers(0, 20, 20) for k in (2 * i, 2 * i + 1)]
    draws.append(ours[index].mean() / theirs[index].mean())
  np.testing.assert_allclose([value, low, high], [
      ours.mean() / theirs.mean(), *np.percentile(draws, [2.5, 97.5])], atol=0.02)


def test_pictures_show_each_model_in_green_or_red():
  problem_ = tower_generator.make()
  c = config().dso
  models = [problem.base(problem_)] * 2
  test = problem_.test._replace(picture=lambda rows: np.full((len(rows), 8, 8, 4), (0, 0, 0, 1)))
  problem_ = problem_._replace(test=test)
  picture = study_pictures.samples(problem_, models, [0, 2], c, size=32)
  assert picture.shape == (4 * 32, 2 * 32, 3)
  assert (picture[:32] == 0).all()  # the image, then the true shape and twice the sample
  np.testing.assert_array_equal(picture[64:96], picture[96:])
  logits = evaluate.logits_of(c, problem_, models[0], np.array([0, 2]))
  for k, stable in enumerate(labels.label(logits, c.label)['stable_cut']):
    cell = picture[64:96, 32 * k:32 * (k + 1)].reshape(-1, 3)
    color = cell[cell.min(-1) < 0.6].mean(0)
    assert (color[1] > color[0]) == stable


def test_the_picture_of_the_losses_is_a_png():
  assert study_pictures.losses()[:4] == b'\x89PNG'

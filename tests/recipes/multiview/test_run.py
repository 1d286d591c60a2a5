"""The loop on a small prior: its results, resuming, what a tuning learns, errors, the command."""

import json

import jax
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs import multiview_d3po
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.feedback import rollout
from jax3dgen.metrics import perceptual
from jax3dgen.recipes.multiview import evaluate, problem, rollouts, run, score, tune
from jax3dgen.recipes.preference import adapters, blocks
from tests.fakes import views_problem


def config(**changes):
  """The tiny config without training of base and metric, with changes {'section__field': value}."""
  c = multiview_d3po.get_config('tiny')
  c.base.train.steps = c.metric.train.steps = 0
  c.score.by = 'psnr'
  c.lora.pattern = 'self/'
  for name, value in changes.items():
    c.update_from_flattened_dict({name.replace('__', '.'): value})
  return c


@pytest.fixture(scope='module')
def small():
  return views_problem.make(config())


@pytest.fixture(autouse=True)
def a_judge_that_needs_no_weights(monkeypatch):
  """Scores by the mean brightness of the views other than the reference's."""
  def brightness(references, views, slots):
    mean = np.asarray(views).mean((2, 3, 4))
    mean[np.arange(len(mean)), slots] = 0
    return mean.sum(1)
  monkeypatch.setattr(score, 'judge', lambda name, weights='': score.Judge(brightness, name))


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory, small):
  """The workdir of a run that nothing stops."""
  workdir = tmp_path_factory.mktemp('unbroken')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(score, 'judge', lambda name, weights='': score.Judge(
        lambda references, views, slots: np.asarray(views).mean((1, 2, 3, 4)), name))
    run.run(config(), workdir, small)
  return workdir


def results(workdir):
  return json.loads((workdir / 'result.json').read_text())


def test_a_run_leaves_its_phases_and_a_table(unbroken):
  page, figures = (unbroken / 'multiview.md').read_text(), results(unbroken)
  assert '| base |' in page and '| tuned |' in page and '| change |' in page
  assert figures['tuning']['pairs'] == 4 and figures['tuning']['agreement'] == 1.0
  assert figures['rows']['base']['samples'] == 4
  assert figures['rows']['base']['psnr'] != figures['rows']['tuned']['psnr']
  assert set(figures['tuning']['digests']) == {'rollouts', 'preferences', 'adapters'}
  assert (unbroken / 'samples.png').is_file()


class Killed(BaseException):
  """As SIGKILL, nothing handles it."""


@pytest.mark.slow
def test_killed_and_resumed_in_every_phase(unbroken, tmp_path, small, monkeypatch):
  """Killed after the first file of each phase; the digests are those of the unbroken run."""
  monkeypatch.setattr(score, 'judge', lambda name, weights='': score.Judge(
      lambda references, views, slots: np.asarray(views).mean((1, 2, 3, 4)), name))
  save, keep = blocks._save, adapters.save
  moments = ['rollout', 'psnr', '000002.safetensors', 'base']

  def then_kill(function):
    def call(path, *args):
      function(path, *args)
      if {path.name, path.parent.name} & set(moments[:1]):
        moments.pop(0)
        raise Killed
    return call
  monkeypatch.setattr(blocks, '_save', then_kill(save))
  monkeypatch.setattr(adapters, 'save', then_kill(keep))
  for _ in range(4):
    with pytest.raises(Killed):
      run.run(config(), tmp_path, small)
  assert not moments
  run.run(config(), tmp_path, small)
  assert (tmp_path / 'result.json').read_bytes() == (unbroken / 'result.json').read_bytes()


@pytest.fixture(scope='module')
def pool(small, tmp_path_factory):
  """The stored rollouts of the small problem."""
  c = FrozenConfigDict(config())
  return rollouts.run(small, problem.base(small), small.pool, c.sampler, c.rollout, 0, (1, 2), 8,
                      tmp_path_factory.mktemp('pool'), 'rollout')


def test_stored_states_and_log_probabilities(small, pool):
  """Recomputed from the stored states and keys, step by step: x and log p agree."""
  grid, flat = rollouts.levels(small.views, 4), lambda x: x.reshape(-1, *x.shape[2:])
  recomputed = jax.jit(lambda params, *states: rollout.policy_log_prob(
      rollouts.predictor(small.views, params, 1.0), small.views.schedule, *states, 1.0,
      small.views.clip))
  for k in (1, 2):
    keys = jax.random.wrap_key_data(flat(pool['reference_key']))
    keys = rollout.step_keys(keys, k)
    cond = rollouts.renew(rollouts.condition(
        small.views, small.params, flat(pool['picture']), flat(pool['picture'])), keys)
    t, t_next = (np.full(8, grid[i], np.float32) for i in (k, k + 1))
    again = recomputed(small.params, flat(pool['x'])[:, k - 1], flat(pool['x'])[:, k], t, t_next,
                       cond)
    np.testing.assert_allclose(again, flat(pool['log_prob'])[:, k - 1], rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(pool['picture'][:, 0], pool['picture'][:, 1])
  assert (pool['x0'][:, 0] != pool['x0'][:, 1]).any()


def test_rollouts_of_another_schedule_do_not_count(small, tmp_path, monkeypatch):
  c, keys = FrozenConfigDict(config()), []
  monkeypatch.setattr(blocks, 'run', lambda folder, count, size, key, *rest: keys.append(key))
  schedule = small.views.schedule
  other = small.views._replace(schedule=schedule._replace(alpha=lambda t: 0.9 * schedule.alpha(t)))
  for views in (small.views, other, small.views):
    rollouts.run(small._replace(views=views), problem.base(small), small.pool, c.sampler, c.rollout,
                 0, (1, 2), 8, tmp_path, 'rollout')
  assert keys[0] == keys[2] != keys[1]


def test_rollouts_that_differ_by_the_noise_on_the_reference(small, tmp_path):
  """A scale of 0 leaves the reference as it is; the sampler's noise is the same in all."""
  c = FrozenConfigDict(config(rollout__source='reference'))
  pool = rollouts.run(small, problem.base(small), small.pool, c.sampler, c.rollout, 0, (1, 2), 8,
                      tmp_path, 'rollout')
  np.testing.assert_array_equal(pool['picture'][:, 0], 2 * small.pool.reference - 1)
  change = pool['picture'][:, 1] - pool['picture'][:, 0]
  np.testing.assert_allclose(change.std(), 0.1, rtol=0.05)
  with pytest.raises(ConfigError, match='nothing to tune on'):
    tune.preferences(np.zeros((4, 2)), c, rollouts.scales(c.rollout))


@pytest.mark.slow
def test_tuning_prefers_the_winners(small, pool, tmp_path):
  """The log-ratios of the winners rise above those of the losers; at first both are 0."""
  c = FrozenConfigDict(config(
      train__steps=30, train__batch=8, loss__simple=0.0, optim__rate=3e-3, checkpoint__every=30,
      log__every=1, loss__weights='even', loss__beta=100.0))
  values = score.run(small, pool, c, None, tmp_path / 'score')
  table = tune.preferences(values, c, rollouts.scales(c.rollout))
  clean = tune.clean_arrays(small.views, small.params, pool, small.pool, c)
  tune.run(small, problem.base(small), pool, table, clean, c, tmp_path / 'tune', 'tune')
  rows = np.genfromtxt(tmp_path / 'tune' / 'metrics.csv', delimiter=',', names=True)
  assert abs(rows['win'][0]) < 1e-3 and abs(rows['lose'][0]) < 1e-3
  assert rows['preference'][-5:].mean() < rows['preference'][0] - 0.01
  assert rows['accuracy'][-5:].mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize('changes', [
    {'loss__name': 'sft'}, {'loss__name': 'mean'},
    {'loss__name': 'advantage', 'loss__clip': 0.1, 'rollout__source': 'both',
     'sampler__guidance': 2.0}])
def test_variants(small, tmp_path, changes):
  figures = run.run(config(train__steps=2, **changes), tmp_path, small)
  assert figures['rows']['base']['digest'] != figures['rows']['tuned']['digest']
  assert ('pairs' in figures['tuning']) == (changes['loss__name'] == 'advantage')


def test_changes_are_paired_over_objects(small):
  """All samples of an object are drawn together; equal rows have no change."""
  rows = {'object': np.repeat(np.arange(5), 2), 'psnr': np.arange(10.0)}
  rows |= {name: rows['psnr'] for name in ('ssim', 'sector', 'kind', 'color')}
  for name in ('hands', 'agree', 'hat'):
    rows |= {f'{name}_right': np.arange(10) % 2, f'{name}_count': np.ones(10, int)}
  better = rows | {'psnr': rows['psnr'] + 1, 'hands_right': np.ones(10, int)}
  change = evaluate.changes(better, rows)
  assert change['psnr'] == (1.0, 1.0, 1.0) and change['hands'] == (0.5, 0.5, 0.5)
  assert change['ssim'] == (0.0, 0.0, 0.0)


def test_columns_of_the_evaluation_by_loops(small, tmp_path):
  """Distance to the truth, spread of samples, and shift of the referee's features of all views."""
  c = FrozenConfigDict(config(evaluation__samples=2))
  model = problem.base(small)
  rows = evaluate.run(small, model, c, {}, tmp_path / 'rows')
  views = evaluate.views_of(small, model, c, tmp_path / 'rows')
  distance = perceptual.load()[1]
  assert views.shape[:2] == (4, 2) and 'feature_distance' in evaluate.columns(rows)
  for n, (i, r) in enumerate(np.ndindex(4, 2)):
    others = [k for k in range(5) if k != small.test.slot[i]]
    true = small.test.images[i, others]
    assert rows['feature_distance'][n] == pytest.approx(
        float(np.mean(distance(views[i, r, others], true))), rel=1e-4)
    apart = np.abs(views[i, 0] - views[i, 1]).mean() / 2  # the deviation of two from their mean
    assert rows['spread'][n] == pytest.approx(apart, rel=1e-4)
  centred, means = [], []
  for name in ('features', 'features_true'):
    x = rows[name].reshape(-1, rows[name].shape[-1]).astype(float)
    means.append(x.mean(0))
    centred.append((x - x.mean(0)[None]) / (len(x) - 1) ** 0.5)
  # The trace of the root of C_a C_b is the sum of the singular values of X_a X_b^T.
  trace = np.linalg.norm(centred[0] @ centred[1].T, 'nuc')
  expected = (np.square(means[0] - means[1]).sum()
              + sum(np.square(x).sum() for x in centred) - 2 * trace)
  assert evaluate.summary(rows)['frechet'] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('field, value, words', [
    ('loss__name', 'ppo', 'd3po, advantage'), ('sampler__eta', 0.0, 'sampler.eta'),
    ('loss__last', 4, 'must be steps'), ('train__batch', 7, 'shared evenly'),
    ('score__pairs', 'equal_scale', 'noise on the reference'),
    ('lora__pattern', 'nothing', 'matches no kernel'), ('rollout__samples', 1, 'rollout.samples')])
def test_bad_settings_are_one_sentence(small, tmp_path, field, value, words):
  with pytest.raises(ConfigError, match=words):
    run.run(config(**{field: value}), tmp_path, small)


def test_missing_weights_are_one_sentence(tmp_path):
  with pytest.raises(WeightError, match='nowhere'):
    run.run(config(prior__weights=str(tmp_path / 'nowhere')), tmp_path / 'run')

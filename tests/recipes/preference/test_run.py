"""The loop on a generator of leaning towers: what it learns, resuming, errors, the command."""

import json
import os
import signal

import jax
import numpy as np
import pytest

from experiments import _command, _config, dso
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.recipes.preference import adapters, blocks, run, tuning
from tests import processes
from tests.commands import ROOT
from tests.fakes import tower_generator


def config(**changes):
  """The tiny config with changes {'section__field': value}."""
  c = _config.load(str(ROOT / 'configs' / 'dso.py:tiny'))[1]
  c.lora.rank = 2
  c.optim.rate = 0.05
  for name, value in changes.items():
    c.update_from_flattened_dict({name.replace('__', '.'): value})
  return c


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
  """The workdir of a run that nothing stops."""
  workdir = tmp_path_factory.mktemp('unbroken')
  run.run(config(), workdir, tower_generator.make())
  return workdir


def results(workdir):
  return json.loads((workdir / 'result.json').read_text())


def test_a_run_leaves_its_phases_and_a_table(unbroken):
  page, figures = (unbroken / 'dso.md').read_text(), results(unbroken)
  assert '| base |' in page and '| round 1 |' in page and '## Round 1' in page
  first = figures['rounds'][0]
  assert first['samples'] == 24 and 0 < first['stable'] < 24
  assert [row['step'] for row in first['steps']] == [0, 3, 6]
  folder = unbroken / 'round_1'
  assert sorted(p.name for p in (folder / 'tune' / 'steps').iterdir()) == [
      '000003.safetensors', '000006.safetensors']
  assert figures['rows']['base']['samples'] == 3 and figures['rows']['base']['chamfer'] > 0
  assert set(first['digests']) == {'pool', 'labels', 'adapters'}


@pytest.mark.slow
def test_the_command_embeds_pictures_and_knows_a_finished_run(tmp_path, capsys, monkeypatch):
  argv = ['--config', str(ROOT / 'configs' / 'dso.py:tiny'), '--workdir', str(tmp_path),
          '--config.generator.name=tests.fakes.tower_generator', '--config.images.pool=4',
          '--config.images.validation=1', '--config.images.test=1', '--config.lora.rank=2']
  monkeypatch.setattr(launch, 'reexecute', lambda: None)
  call = lambda: _command.call(dso.run, dso.__doc__, config='configs/dso.py', argv=argv)
  assert call() == 0
  assert '| round 1 |' in capsys.readouterr().out
  assert call() == 0
  assert 'is finished' in capsys.readouterr().out


def test_a_finished_run_computes_nothing_again(unbroken, monkeypatch):
  before = (unbroken / 'result.json').read_bytes()
  monkeypatch.setattr(blocks, '_shared', lambda *args: pytest.fail('computed again'))
  run.run(config(), unbroken, tower_generator.make())
  assert (unbroken / 'result.json').read_bytes() == before


class Killed(BaseException):
  """As SIGKILL, nothing handles it."""


def test_killed_and_resumed_in_every_phase(unbroken, tmp_path, monkeypatch):
  """Killed after the first file of each phase; the results are those of the unbroken run."""
  save, keep = blocks._save, adapters.save
  moments = ['generate', 'label', '000003.safetensors', '000000', '000006', 'base', 'round_1']
  reached = []

  def then_kill(function):
    def call(path, *args):
      function(path, *args)
      if {path.name, path.parent.name} & set(moments[:1]):
        reached.append(moments.pop(0))
        raise Killed
    return call
  monkeypatch.setattr(blocks, '_save', then_kill(save))
  monkeypatch.setattr(adapters, 'save', then_kill(keep))
  for _ in range(7):
    with pytest.raises(Killed):
      run.run(config(), tmp_path, tower_generator.make())
  assert reached == ['generate', 'label', '000003.safetensors', '000000', '000006', 'base',
                     'round_1']
  run.run(config(), tmp_path, tower_generator.make())
  assert (tmp_path / 'result.json').read_bytes() == (unbroken / 'result.json').read_bytes()


def test_sigterm_ends_a_phase_after_its_block(tmp_path, monkeypatch, capsys):
  save = blocks._save

  def then_signal(path, *args):
    save(path, *args)
    os.kill(os.getpid(), signal.SIGTERM)
  monkeypatch.setattr(blocks, '_save', then_signal)
  with pytest.raises(SystemExit) as stop:
    run.run(config(), tmp_path, tower_generator.make())
  assert stop.value.code == 143
  assert len(list((tmp_path / 'round_1' / 'generate').iterdir())) == 1
  assert 'stopped by a signal after 16 of 24' in capsys.readouterr().out


def test_a_damaged_block_is_computed_again(unbroken, tmp_path):
  compute = lambda rows: {'x': rows**2, 'word': np.array([f'r{r}' for r in rows], 'U9')}
  first = blocks.run(tmp_path, 10, 4, 'key', compute, 'test')
  np.testing.assert_array_equal(first['x'], np.arange(10)**2)
  assert first['word'].tolist() == [f'r{k}' for k in range(10)]
  (tmp_path / '00001.npz').write_bytes(b'torn')
  computed = []
  again = blocks.run(tmp_path, 10, 4, 'key', lambda rows: computed.append(rows) or compute(rows),
                     'test')
  assert [rows.tolist() for rows in computed] == [[4, 5, 6, 7]]
  assert blocks.digest(again) == blocks.digest(first)
  blocks.run(tmp_path, 10, 4, 'other', lambda rows: computed.append(rows) or compute(rows), 'test')
  assert len(computed) == 4


def test_tuning_lowers_the_lean(tmp_path):
  """On the winners of its own samples alone: fewer towers fall, of the same noise."""
  problem = tower_generator.make(pool=12, test=24)
  problem = problem._replace(test=problem.test._replace(mesh=None))  # no Chamfer distances
  figures = run.run(config(loss__name='sft', train__steps=80, select__by='last', lora__rank=3,
                           sampler__guidance=0.0, train__batch=16, evaluation__samples=2,
                           checkpoint__every=80, log__every=0), tmp_path, problem)
  base, tuned = (figures['rows'][name] for name in ('base', 'round 1'))
  assert tuned['stable_cut'] >= base['stable_cut'] + 6
  assert abs(tuned['volume'] / base['volume'] - 1) < 0.05
  assert tuned['chamfer'] is None and '| - |' in (tmp_path / 'dso.md').read_text()


@pytest.mark.parametrize('changes', [
    {'loss__name': 'dro', 'loss__noise': 'tracked', 'loss__anchor': 0.5, 'loss__negative': 0.5},
    {'loss__name': 'sft', 'loss__growth': 1.0, 'pairs__of': 'object'},
    {'rounds': 2, 'loss__reduction': 'sum', 'loss__beta': 4.0}])
def test_variants(tmp_path, changes):
  figures = run.run(config(select__by='last', train__steps=3, **changes), tmp_path,
                    tower_generator.make())
  assert len(figures['rounds']) == changes.get('rounds', 1)
  digests = [r['digests'] for r in figures['rounds']]
  assert len({d['pool'] for d in digests}) == len(digests)
  assert figures['rows']['base']['digest'] != figures['rows']['round 1']['digest']


def test_a_collapse_is_counted_and_not_selected(tmp_path, capsys):
  """A rate at which samples fill the grid: no step keeps the bounds, and the model stays."""
  figures = run.run(config(loss__name='dro', optim__rate=50.0), tmp_path, tower_generator.make())
  assert figures['rounds'][0]['step'] == 0
  assert 'the model stays as it was' in capsys.readouterr().out
  assert figures['rows']['round 1'] == figures['rows']['base']


def test_pool_without_a_pair_is_refused_with_the_images(tmp_path, capsys):
  generator, params = tower_generator.load()
  upright = params | {'decoder': {'scale': np.float32(0.0)}}
  problem = tower_generator.make()._replace(params=upright)
  with pytest.raises(ConfigError, match='None of the 6 groups'):
    run.run(config(), tmp_path, problem)


def test_images_without_a_pair_are_named(unbroken, tmp_path, capsys):
  first = results(unbroken)['rounds'][0]
  assert first['left_out'] and first['pairs'] + len(first['left_out']) == 6
  run.run(config(), unbroken, tower_generator.make())
  out = capsys.readouterr().out
  assert all(name in out for name in first['left_out'])


def test_samples_that_are_not_finite_are_unstable_and_in_no_pair(tmp_path):
  problem = tower_generator.make()
  problem.pool.cond.tokens[2] = np.nan
  figures = run.run(config(select__by='last', train__steps=3), tmp_path, problem)
  first = figures['rounds'][0]
  assert first['not_judged'] == 4 and '2' in first['left_out']


@pytest.mark.parametrize('field, value, words', [
    ('loss__name', 'ppo', 'dro, dpo, sft'), ('label__engine', 'bullet', 'native, mjx'),
    ('train__batch', 7, 'shared evenly'), ('lora__pattern', 'nothing', 'matches no kernel'),
    ('optim__warmup', -1.0, 'warmup'), ('train__steps', 0, 'train.steps'),
    ('label__seconds', -1.0, 'positive')])
def test_bad_settings_are_one_sentence(tmp_path, field, value, words):
  with pytest.raises(ConfigError, match=words):
    run.run(config(**{field: value}), tmp_path, tower_generator.make())


def test_missing_weights_are_one_sentence(tmp_path):
  with pytest.raises(WeightError, match='nowhere'):
    run.run(config(generator__weights=str(tmp_path / 'nowhere')), tmp_path / 'run')


def test_another_config_is_refused(unbroken):
  with pytest.raises(ConfigError, match='belongs to another config'):
    run.run(config(seed=3), unbroken, tower_generator.make())


def test_adapters_files_are_checked(tmp_path):
  like = {'a/kernel': {'a': np.ones((2, 3), np.float32), 'b': np.zeros((4, 2), np.float32)}}
  adapters.save(tmp_path / 'x.safetensors', like, 2.0)
  loaded = adapters.load(tmp_path / 'x.safetensors', like)
  jax.tree.map(np.testing.assert_array_equal, loaded, like)


@pytest.mark.slow
def test_two_processes_have_the_pool_and_the_labels_of_one(tmp_path):
  """Adapters differ by the order of sums."""
  group = processes.start_group('tests.fakes.tower_run', tmp_path / 'two')
  alone = processes.start('tests.fakes.tower_run', tmp_path / 'one', devices=4)
  for status, output in processes.finish(*group, alone):
    assert status == 0, output
  one, two = (results(tmp_path / name)['rounds'][0]['digests'] for name in ('one', 'two'))
  assert {name: one[name] for name in ('pool', 'labels')} == {
      name: two[name] for name in ('pool', 'labels')}


def test_warm_up_of_dso_s_code():
  """Adam's first updates of constant gradients are the rate: 5e-6 min(1, step / 2000)."""
  c = _config.load(str(ROOT / 'configs' / 'dso.py:trellis'))[1]
  c.optim.decay = 0.0
  tx = tuning.optimiser(c)
  params = {'x': np.zeros(1, np.float32)}
  state, rates = tx.init(params), {}
  update = jax.jit(tx.update)
  for step in range(2003):
    change, state = update({'x': np.ones(1, np.float32)}, state, params)
    rates[step] = -float(change['x'][0])
  for step in (0, 1, 500, 1999, 2000, 2002):
    np.testing.assert_allclose(rates[step], 5e-6 * min(1, step / 2000), rtol=1e-3, atol=1e-12)

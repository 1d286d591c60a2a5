"""`python -m experiments.compare` with its tiny config, where a stub makes the runs."""

import importlib
import json

import numpy as np
import pytest

from benchmarks import objectives
from configs import compare_diversity, compare_janus
from experiments import _command, compare
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError, DivergenceError
from jax3dgen.export import turntable
from jax3dgen.recipes.compare import run as comparing
from jax3dgen.recipes.distill import batched
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from tests import commands

METHODS = '--config.compare.methods=("csd","sds")'


def figures(cfg):
  return {'steps': cfg.train.steps, 'seconds': 2.0 + cfg.seed, 'face_count': 1 + cfg.seed,
          'winding': 1.0, 'view_kl': 0.01, 'reject_rate': 0.0, 'kind_seen': 'bear',
          'kind_correct': True, 'color_correct': True}


def strip(cfg):
  """Eight views [8, 64, 3], brighter for some seeds than for others."""
  return np.full((8, 64, 3), 0.25 + 0.25 * cfg.seed, np.float32)


@pytest.fixture
def runs(monkeypatch):
  """The (objective, prompt, seed) of the runs that are made; the stub leaves what a run leaves."""
  log = []

  def run(cfg, folder):
    log.append((cfg.distill.name, cfg.prompt, cfg.seed))
    for step in (5, 10):
      turntable.write_png(folder / 'previews' / f'{step:06d}.png', strip(cfg))
    (folder / 'metrics.csv').write_text('step,opacity\n5,0.5\n10,0.25\n')
    return distill.Result(folder, figures(cfg), None)

  def run_batched(configs, width):
    for cfg in configs:
      log.append((cfg.distill.name, cfg.prompt, cfg.seed))
      yield batched.Outcome(figures(cfg) | {'batched': width}, '', [(10, strip(cfg))])
  monkeypatch.setattr(distill, 'run', run)
  monkeypatch.setattr(batched, 'run', run_batched)
  return log


def call(workdir, *args):
  config = commands.ROOT / 'configs' / 'compare_janus.py:tiny'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(
        compare.run, compare.__doc__, config='configs/compare_janus.py', flags=compare.flags,
        argv=[f'--config={config}', f'--workdir={workdir}', *map(str, args)])


def row_of(workdir, method, seed):
  (path,) = (workdir / 'cells' / method).glob(f'a-red-bear-*-{seed:02d}.json')
  return json.loads(path.read_text())


def test_finished_runs_stay_in_the_workdir_and_are_not_repeated(tmp_path, runs, capsys):
  assert call(tmp_path, METHODS, '--config.compare.seeds=2') == 0
  assert runs == [(method, 'a red bear', seed) for seed in (0, 1) for method in ('csd', 'sds')]
  row = row_of(tmp_path, 'csd', 1)
  assert row['failed'] == '' and row['face_count'] == 2 and row['metrics'] == {'opacity': 0.25}
  assert row['history']['step'] == [5, 10] and len(row['history']['view_kl']) == 2
  assert len(list((tmp_path / 'cells' / 'csd').glob('*.png'))) == 2
  assert not list((tmp_path / 'runs').glob('*/*'))  # whole runs are not kept
  page = (tmp_path / 'compare.md').read_text()
  assert '| csd | 1 of 2 (' in page and '| sds | 1 of 2 (' in page
  assert list(tmp_path.glob('a-red-bear*.png'))

  runs.clear()
  assert call(tmp_path, METHODS, '--config.compare.seeds=3') == 0
  assert runs == [('csd', 'a red bear', 2), ('sds', 'a red bear', 2)]
  assert call(tmp_path, METHODS, '--config.compare.seeds=0') == 0 and len(runs) == 2
  assert '| csd | 1 of 3 (' in (tmp_path / 'compare.md').read_text()
  assert call(tmp_path / 'none', '--config.compare.seeds=0') == 2
  assert 'no finished runs' in capsys.readouterr().err
  assert call(tmp_path, '--config.train.steps=11') == 2
  assert 'config.train.steps=10, not 11' in capsys.readouterr().err


def test_an_interrupted_comparison_resumes_its_current_run(tmp_path, runs, monkeypatch):
  stub = distill.run

  def interrupted(cfg, folder):
    if cfg.distill.name == 'sds':
      raise KeyboardInterrupt
    return stub(cfg, folder)
  monkeypatch.setattr(distill, 'run', interrupted)
  assert call(tmp_path, METHODS) == 130
  monkeypatch.setattr(distill, 'run', stub)
  assert call(tmp_path, METHODS) == 0
  assert runs == [('csd', 'a red bear', 0), ('sds', 'a red bear', 0)]


def test_a_failed_run_is_a_row_and_the_others_go_on(tmp_path, runs, monkeypatch, capsys):
  stub = distill.run

  def failing(cfg, folder):
    if cfg.distill.name == 'csd':
      raise DivergenceError('step 200: the field is empty.')
    return stub(cfg, folder)
  monkeypatch.setattr(distill, 'run', failing)
  assert call(tmp_path, METHODS) == 3
  assert "csd, 'a red bear', seed 0 failed: step 200" in capsys.readouterr().err
  assert row_of(tmp_path, 'csd', 0)['failed'] == 'step 200: the field is empty.'
  page = (tmp_path / 'compare.md').read_text()
  assert '| csd | 0 of 1 (' in page and '| sds | 1 of 1 (' in page
  monkeypatch.setattr(distill, 'run', stub)
  assert call(tmp_path, METHODS) == 3 and runs == [('sds', 'a red bear', 0)]


def test_merged_rows_are_finished_for_other_workdirs(tmp_path, runs, capsys):
  path = tmp_path / 'tables' / 'bears.jsonl'
  table = f'--config.compare.table={path}'
  assert call(tmp_path / 'first', METHODS, table) == 2
  assert f'there is no file {path}' in capsys.readouterr().err
  assert call(tmp_path / 'first', METHODS, '--merge') == 2
  assert '--merge needs config.compare.table' in capsys.readouterr().err

  assert call(tmp_path / 'first', METHODS, table, '--merge', '--config.compare.seeds=2') == 0
  assert '4 new rows' in capsys.readouterr().out and len(runs) == 4
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  assert [(row['method'], row['seed']) for row in rows] == [
      ('csd', 0), ('csd', 1), ('sds', 0), ('sds', 1)]
  assert rows[1] | row_of(tmp_path / 'first', 'csd', 1) == rows[1]  # exactly the workdir's

  before, page = path.read_bytes(), (tmp_path / 'first' / 'compare.md').read_text()
  assert call(tmp_path / 'first', METHODS, table, '--merge', '--config.compare.seeds=2') == 0
  assert '0 new rows' in capsys.readouterr().out and path.read_bytes() == before
  assert call(tmp_path / 'second', METHODS, table, '--config.compare.seeds=2') == 0
  assert len(runs) == 4 and not (tmp_path / 'second' / 'cells').exists()
  assert (tmp_path / 'second' / 'compare.md').read_text().splitlines()[4:] == page.splitlines()[4:]

  assert call(tmp_path / 'third', table, '--config.compare.batched=2', '--merge',
              '--config.compare.seeds=4') == 0
  assert runs[4:] == [('csd', 'a red bear', 2), ('csd', 'a red bear', 3)]
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  assert [(row['method'], row['seed'], row.get('batched')) for row in rows] == [
      ('csd', 0, None), ('csd', 1, None), ('csd', 2, 2), ('csd', 3, 2),
      ('sds', 0, None), ('sds', 1, None)]
  other = ('--config.train.steps=11', table)
  assert call(tmp_path / 'fourth', *other) == 2
  assert 'config.train.steps=10, not 11' in capsys.readouterr().err
  assert call(tmp_path / 'fourth', *other, '--config.compare.study=longer', '--merge') == 0
  assert [json.loads(line)['study'] for line in path.read_text().splitlines()] == (
      ['plain'] * 6 + ['longer'])


@pytest.mark.parametrize('module, variant', [
    (compare_diversity, ''), *((compare_janus, variant) for variant in (
        '', 'core', 'others', 'forms', 'phrases', 'without_sparsity', 'conditional',
        'light_sparsity', 'sweep', 'ablations', 'particles'))])
def test_tables_of_the_results_have_the_settings_of_their_configs(module, variant, tmp_path):
  """A field that is renamed, or a default that changes, must change in the tables, too."""
  config = module.get_config(variant)
  config.compare.table = str(commands.ROOT / config.compare.table)
  table, rows, _ = comparing.read(config, tmp_path)
  assert any(row['study'] == config.compare.study for row in table.rows) and not rows
  config.train.batch += 1
  with pytest.raises(ConfigError, match='config.train.batch'):
    comparing.read(config, tmp_path)


# Those names have the first runs.
ALIASES = {'jsd': 'jsd_annealed', 'sdi': 'sdi_annealed', 'usd': 'usd_paper'}


@pytest.mark.parametrize('name', [
    'sds', 'sjc', 'csd', 'nfsd', 'ism', 'sdi', 'cfd', 'hifa', 'jsd', 'vsd', 'esd', 'usd'])
def test_studies_start_from_the_configs_of_their_objectives(name):
  config = importlib.import_module(f'configs.{name}').get_config('embedded')
  alone = comparing.settings_of(distill.complete(config))
  study = comparing.settings_of(comparing.method_config(
      compare_janus.get_config(), ALIASES.get(name, name)))
  differ = {field for field in alone.keys() | study.keys() if alone.get(field) != study.get(field)}
  assert all(field == 'view_prompts' or field.startswith('result.') for field in differ), differ


@pytest.mark.slow
def test_a_whole_run_from_the_command(tmp_path):
  assert call(tmp_path) == 0
  assert row_of(tmp_path, 'csd', 0)['failed'] == ''


@pytest.mark.slow
@pytest.mark.parametrize('name', ['usd', 'sds_rectified_conditional', 'sds_rectified_noisy',
                                  'perp_neg', 'nfsd', 'esd'])
def test_rows_of_the_denoiser_are_those_of_a_traced_step(name):
  rows = comparing.denoiser_rows(compare_janus.get_config(), name)
  assert rows == sum(objectives.rows(objectives.parts_of(name)))


@pytest.mark.slow
@pytest.mark.parametrize('change, rows', [
    ({'guide.rescale': 0.7}, 3),
    ({'distill.name': 'sds_rectified', 'distill.noise': 'fresh'}, 2 + 1 + 1),
    ({'distill.name': 'sds_rectified', 'guide.name': 'perp_neg'}, 4 + 1 + 1)])
def test_rows_of_the_denoiser_of_other_settings_are_those_of_a_traced_step(change, rows):
  config = compare_janus.get_config()
  config.compare.changes = (('changed', tuple(change.items())),)
  parts = distill_parts.build(comparing.method_config(config, 'changed'))
  assert comparing.denoiser_rows(config, 'changed') == sum(objectives.rows(parts)) == rows


@pytest.mark.parametrize('name, rows', [
    ('sds', 2), ('sds_bridge', 2), ('debiased_sds', 2), ('perp_neg', 4), ('nfsd', 3),
    ('sds_rectified', 2 + 2), ('sds_rectified_conditional', 2 + 1), ('sds_rectified_detached', 2),
    ('vsd', 2 + 1 + 3), ('esd', 2 + 2 + 3), ('usd', 2 + 1 + 3 + 2), ('ism', 3 + 1 + 2),
    ('sdi', 10 * 2 + 2), ('jsd', 10 * 2 + 2 + 2), ('jsd_without_minority', 10 * 2 + 2)])
def test_rows_of_the_denoiser_with_every_step_of_an_inversion(name, rows):
  """Predictions, the critic and its fit (forward, back, weights), the rectifier's way back."""
  assert comparing.denoiser_rows(compare_janus.get_config(), name) == rows


def test_prompts_may_stand_in_a_file(tmp_path):
  (tmp_path / 'prompts.txt').write_text('a green car\na gray rocket\n')
  config = compare_janus.get_config()
  assert comparing.prompts_of(config) == compare_janus.PROMPTS
  config.compare.prompts_file = str(tmp_path / 'prompts.txt')
  assert comparing.prompts_of(config) == ['a green car', 'a gray rocket']


def test_methods_are_changes_of_the_config_or_objectives(tmp_path, capsys):
  config = compare_janus.get_config()
  esd, csd = (comparing.method_config(config, name) for name in ('esd', 'csd'))
  assert (esd.distill.name, esd.distill.critic_rank) == ('esd', 0)
  assert csd.distill.name == 'csd' and 'compare' not in csd
  plain = json.loads(json.dumps(config.compare.to_dict()))  # as a file keeps it
  config.compare.changes = plain['changes']
  assert comparing.method_config(config, 'esd') == esd
  change = '--config.compare.changes=(("bright",(("field.bands",2.0),)),)'
  config.compare.changes = (('bright', (('field.bands', 2.0),)),)
  assert comparing.method_config(config, 'bright').field.bands == 2.0
  assert call(tmp_path, change, '--config.compare.methods=("esdd",)') == 2
  assert "'esdd' is none of the methods of config.compare.changes (bright)" in (
      capsys.readouterr().err)

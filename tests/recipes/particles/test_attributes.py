"""Rectified attributes: the configs, how runs differ, and the page."""

import json

import numpy as np
import pytest

from experiments import _config
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurines
from jax3dgen.distill import rectifier, sds
from jax3dgen.recipes.particles import attributes, attributes_page
from jax3dgen.recipes.particles import run as particles
from tests import commands

ROOT = commands.ROOT


def config(variant='', **changes):
  result = attributes.complete(
      _config.load(f'{ROOT / "configs" / "attributes.py"}{variant}')[1])
  result.update_from_flattened_dict(changes)
  return result


@pytest.mark.parametrize('variant', ['', ':hat', ':color', ':tiny'])
def test_configs_and_their_runs_pass_the_checks(variant):
  whole = config(variant)
  attributes.check(whole)
  for objective, defaults in (('sds', sds.DEFAULTS),
                              ('sds_rectified', sds.DEFAULTS | rectifier.DEFAULTS)):
    one = attributes.run_config(whole, objective, 7)
    particles.check(one)
    assert one.seed == 7 and set(one.distill) == {'name', 'guidance', *defaults}
    assert 'attributes' not in one and one.prompt == whole.prompt
  assert one.distill.classifier == 'phrases' and one.distill.n_ema == whole.distill.n_ema


@pytest.mark.parametrize('changes', [
    {'attributes.name': 'scarf'}, {'attributes.name': 'color'}, {'attributes.seeds': 0},
    {'attributes.objectives': ('sdss',)}, {'attributes.objectives': ()}, {'distill.classes': 3},
    {'distill.templates': 'a bear'}])
def test_what_cannot_be_compared_is_refused(changes):
  with pytest.raises(ConfigError, match='config.attributes|config.distill|no objective'):
    attributes.check(config(**changes))


def test_figurines_are_of_the_prompt_s_kind_and_colour(monkeypatch):
  calls = []
  monkeypatch.setattr(attributes, 'draw', lambda key, choices: calls.append(choices) or (
      np.zeros((2, 3)), np.array([0, 1])))
  for prompt, kinds, colors in (('a red bear', ['bear'], ['red']),
                                ('a bunny', ['rabbit'], list(figurines.COLORS))):
    features, hat = attributes.views(config(prompt=prompt))
    assert [figurines.KINDS[i] for i in calls[-1][0]] == kinds
    assert [figurines.COLORS[i] for i in calls[-1][1]] == colors
    assert len(features) == len(hat) and hat.dtype == bool


def test_the_page_counts_runs_together():
  rows = [{'objective': name, 'seed': seed, 'judge': [seed, 4 - seed], 'classifier': [4, 0],
           'right_kind': 3} for name in ('sds', 'usd') for seed in (0, 1)]
  result = {'prompt': 'a red bear', 'attribute': 'hat', 'classes': ('hat', 'no hat'), 'rows': rows,
            'particles': 4, 'steps': 2, 'judge_accuracy': 0.9, 'held_out': 1000}
  page = attributes_page.text(result, 'command')
  assert '| sds | 1 of 8 (2% to 47%) | 7 of 8 (53% to 98%) |' in page
  assert '| usd | 8 of 8 (68% to 100%) | 0 of 8 (0% to 32%) |' in page
  assert '| usd | 1 | 1, 3 | 4, 0 | 3 |' in page and '90.0% of 1,000' in page


@pytest.mark.slow
def test_the_command_leaves_a_page_and_finished_runs_alone(tmp_path):
  spec = ROOT / 'configs' / 'attributes.py:tiny'
  for _ in range(2):
    done = commands.run('attributes', f'--config={spec}', '--workdir', tmp_path)
    assert done.returncode == 0, done.stderr
  assert done.stdout.count('is finished') == 2
  figures = json.loads((tmp_path / 'attributes.json').read_text())
  assert [row['objective'] for row in figures['rows']] == ['sds', 'sds_rectified']
  assert all(sum(row['judge']) == sum(row['classifier']) == 4 for row in figures['rows'])
  assert (tmp_path / 'attributes.md').exists() and (tmp_path / 'attributes.png').exists()


@pytest.mark.slow
def test_the_hat_classifier_is_accurate_on_held_out_figurines():
  classify, accuracy, count = attributes.load_judge(config(**{'attributes.views': 2000}))
  assert accuracy > 0.9 and count == 1000
  assert set(classify(np.ones((3, 32, 32, 3), np.float32))) <= {0, 1}

import argparse
import json
import sys

import pytest

from experiments import _command, seeds
from jax3dgen.core.errors import DivergenceError
from jax3dgen.recipes.distill import run as distill
from tests import commands


def figures(seed, count, stable, rotation):
  return {'prompt': 'a red bear', 'steps': 5, 'seed': seed, 'seconds': 2.0, 'face_count': count,
          'kind_correct': True, 'color_correct': seed == 0, 'watertight': True, 'stable': stable,
          'front_fraction': 0.25, 'view_kl': 0.0, 'winding': 1.0, 'reject_rate': 0.0,
          'rotation_deg': rotation, 'stable_uncut': False, 'rotation_deg_uncut': 90.0}


def test_summary_counts_faces_and_leaves_out_what_is_not_applicable():
  result = seeds.summary([figures(0, 1, True, 2.0), figures(1, 0, None, None),
                          figures(2, 3, False, 90.0), figures(3, 1, True, 1.0)])
  assert (result['one_face'], result['no_face'], result['several_faces']) == (0.5, 0.25, 0.25)
  assert result['color_correct'] == 0.25
  assert result['stable'] == 2 / 3 and result['rotation_deg'] == 31.0
  assert result['stable_uncut'] == 0 and result['rotation_deg_uncut'] == 90.0


def test_the_command_that_repeats_one_seed(monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['seeds.py', '--config', 'a.py:plain', '--seeds', '3',
                                    '--config.prompt=a red bear', '--workdir', 'runs'])
  args = argparse.Namespace(config='a.py:plain', workdir='runs')
  assert _command.again('distill', args, 'runs/seed_02', seed=2) == (
      "python -m experiments.distill --config a.py:plain '--config.prompt=a red bear' "
      '--config.seed=2 --workdir runs/seed_02')


def test_a_failed_seed_is_listed_and_the_others_go_on(tmp_path, monkeypatch, capsys):
  def run(config, workdir, **_):
    if config.seed == 0:
      raise DivergenceError('step 200: the field is empty.')
    return distill.Result(workdir, figures(config.seed, 1, True, 2.0), None)
  monkeypatch.setattr(distill, 'run', run)
  status = seeds.run(distill.default_config(), tmp_path, argparse.Namespace(
      seeds=3, config='configs/embedded.py', workdir=tmp_path, allow_change=False))
  assert status == 3
  assert 'Seed 0 failed: step 200: the field is empty.' in capsys.readouterr().err
  result = json.loads((tmp_path / 'seeds.json').read_text())
  assert result['failed'] == [0] and result['seeds'] == [1, 2] and result['one_face'] == 1


@pytest.mark.slow
def test_an_empty_field_fails(tmp_path):
  done = commands.run(
      'seeds', '--config', commands.ROOT / 'configs' / 'embedded.py:tiny', '--workdir', tmp_path,
      '--seeds', '1', '--config.regularizers.sparsity=1e5')
  assert done.returncode == 3 and 'Seed 0 failed' in done.stderr
  assert json.loads((tmp_path / 'seeds.json').read_text()) == {'failed': [0]}

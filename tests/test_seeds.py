import argparse
import json
import os
import sys

from experiments import _command, seeds
from tests import commands


def figures(seed, count, stable, rotation):
  return {'prompt': 'a red bear', 'steps': 5, 'seed': seed, 'seconds': 2.0, 'face_count': count,
          'kind_correct': True, 'color_correct': seed == 0, 'watertight': True, 'stable': stable,
          'front_fraction': 0.25, 'view_kl': 0.0, 'winding': 1.0, 'reject_rate': 0.0,
          'rotation_deg': rotation, 'stable_uncut': False, 'rotation_deg_uncut': 90.0}


def test_summary_counts_faces_and_leaves_out_what_is_not_applicable():
  found = seeds.summary([figures(0, 1, True, 2.0), figures(1, 0, None, None),
                         figures(2, 3, False, 90.0), figures(3, 1, True, 1.0)])
  assert (found['one_face'], found['no_face'], found['several_faces']) == (0.5, 0.25, 0.25)
  assert found['color_correct'] == 0.25
  assert found['stable'] == 2 / 3 and found['rotation_deg'] == 31.0
  assert found['stable_uncut'] == 0 and found['rotation_deg_uncut'] == 90.0


def test_the_command_that_repeats_one_seed(monkeypatch):
  monkeypatch.setattr(sys, 'argv', ['seeds.py', '--config', 'a.py:plain', '--seeds', '3',
                                    '--config.prompt=a red bear', '--workdir', 'runs'])
  args = argparse.Namespace(config='a.py:plain', workdir='runs')
  assert _command.again('distill', args, 'runs/seed_02', seed=2) == (
      "python -m experiments.distill --config a.py:plain '--config.prompt=a red bear' "
      '--config.seed=2 --workdir runs/seed_02')


def test_a_seed_that_comes_to_nothing_is_listed(tmp_path):
  done = commands.run(
      'seeds', '--config', commands.ROOT / 'configs' / 'embedded.py:tiny', '--workdir', tmp_path,
      '--seeds', '1', '--config.regularizers.sparsity=1e5',
      env=commands.environment(XLA_FLAGS=os.environ['XLA_FLAGS']))  # little optimised, like tests
  assert done.returncode == 3 and 'Seed 0 came to nothing' in done.stderr
  assert json.loads((tmp_path / 'seeds.json').read_text()) == {'failed': [0]}

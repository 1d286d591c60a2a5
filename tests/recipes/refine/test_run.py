"""The three stages by command: results, resuming after a kill in each stage, failures."""

import json

import pytest

from tests import commands

CONFIG = 'configs/prolificdreamer.py:tiny'


def call(workdir, *options):
  return commands.run('distill', '--config', CONFIG, '--workdir', workdir, *options)


@pytest.mark.slow
def test_three_stages_and_a_kill_in_each(tmp_path):
  """Killed after the first checkpoint of a stage, the same command ends with equal digests."""
  whole, broken = tmp_path / 'whole', tmp_path / 'broken'
  assert call(whole).returncode == 0
  figures = json.loads((whole / 'result.json').read_text())
  assert figures['texture_psnr'] > 35 and figures['watertight']
  assert {p.name for p in whole.iterdir()} >= {'field', 'geometry', 'texture', 'mesh.glb',
                                               'report.html', 'turntable.mp4'}
  for stage in ('field', 'geometry', 'texture'):
    commands.kill(broken, lambda stage=stage: any(
        (broken / stage / 'checkpoints').glob('[0-9]*')), '--config', CONFIG,
                  '--config.checkpoint.every=2')
    assert not (broken / 'result.json').exists()
  assert call(broken, '--config.checkpoint.every=2').returncode == 0
  again = json.loads((broken / 'result.json').read_text())
  assert again['params_digest'] == figures['params_digest']
  assert (broken / 'geometry' / 'mesh.glb').read_bytes() == (
      whole / 'geometry' / 'mesh.glb').read_bytes()


@pytest.mark.slow
def test_a_failed_stage_leaves_the_field_whole(tmp_path):
  done = call(tmp_path, '--config.geometry.mesh.level=1e9')
  assert done.returncode == 2 and 'no vertex of the grid' in done.stderr
  assert (tmp_path / 'field' / 'result.json').exists()
  assert not (tmp_path / 'result.json').exists()

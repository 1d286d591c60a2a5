"""The command of preference tuning, end to end, on a folder in TRELLIS's layout."""

import json

import pytest
from safetensors import numpy as safetensors_numpy

from tests import commands, published
from tests import trellis_reference as reference

TINY = commands.ROOT / 'configs' / 'dso.py:tiny'
IMAGE = {'width': 64, 'depth': 1, 'heads': 1, 'grid': 2}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A folder with random weights: flow, decoder and image network."""
  nets = {'flow': reference.FLOW | {'cond_channels': 64}, 'decoder': reference.DECODER}
  path = reference.write(tmp_path_factory.mktemp('trellis'), **{
      part: (reference.random_net(part, args), args) for part, args in nets.items()})
  image = published.randomise(reference.ImageNet(**IMAGE), 0.1)
  safetensors_numpy.save_file(
      {name: x.float().numpy() for name, x in image.state_dict().items()},
      path / 'dinov2_vitl14_reg4_pretrain.safetensors')
  return path


def dso(folder, workdir, *args):
  """The tiny run of this folder; its samples are noise, so pairs are chosen by margin."""
  return commands.run(
      'dso', '--config', TINY, '--workdir', workdir, f'--config.generator.weights={folder}',
      '--config.pairs.by=margin', '--config.pairs.gap_deg=0', '--config.images.pool=3',
      '--config.images.validation=2', '--config.images.test=2', '--config.train.batch=4', *args)


@pytest.mark.slow
def test_a_folder_is_tuned_and_the_same_command_is_finished(folder, tmp_path):
  workdir = tmp_path / 'run'
  result = dso(folder, workdir)
  assert result.returncode == 0, result.stderr
  assert '| round 1 |' in result.stdout and '--config.pairs.by=margin' in result.stdout
  figures = json.loads((workdir / 'result.json').read_text())
  assert figures['rounds'][0]['pairs'] == 3
  again = dso(folder, workdir)
  assert again.returncode == 0 and 'is finished' in again.stdout

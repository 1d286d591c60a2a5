"""The command that draws pictures from a prior."""

import matplotlib.image as png
import numpy as np
import pytest

from experiments import _command
from experiments import sample as command
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes import sample
from tests import commands


def call(workdir, *args):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(command.run, command.__doc__, config='configs/sample.py', argv=[
        f'--config={commands.ROOT / "configs" / "sample.py:tiny"}', f'--workdir={workdir}', *args])


def test_a_grid_of_pictures_with_the_embedded_prior(tmp_path, capsys):
  assert call(tmp_path, '--config.count=2', '--config.sampler=dpm_solver', '--config.steps=4',
              '--config.prompts=("a red bear", "a blue robot")', '--config.negative=foggy',
              '--config.perp_neg', '--config.rescale=0.5') == 0
  assert 'grid.png' in capsys.readouterr().out
  grid = png.imread(tmp_path / 'grid.png')[..., :3]
  assert grid.shape == (64, 64, 3)
  one = png.imread(next(tmp_path.glob('a-blue-robot-*-1.png')))[..., :3]
  np.testing.assert_array_equal(one, grid[32:, 32:])
  assert np.abs(grid[:32] - grid[32:]).mean() > 0.01  # the prompt matters, with the same noise
  assert len(list(tmp_path.glob('*.png'))) == 5


@pytest.mark.parametrize('change, sentence', [
    ({'sampler': 'heun'}, 'ddim, euler, dpm_solver'),
    ({'sampler': 'euler', 'eta': 1.0}, 'only ddim'), ({'steps': 0}, 'config.steps=0'),
    ({'prompts': ()}, 'tuple of texts'),
    ({'perp_neg': True}, 'needs config.negative')])
def test_invalid_settings_are_refused(change, sentence, tmp_path):
  config = sample.default_config()
  config.update(change)
  with pytest.raises(ConfigError, match=sentence):
    sample.run(config, tmp_path)


def test_settings_that_a_prior_lacks_are_refused(tmp_path, capsys):
  assert call(tmp_path, '--config.prior.dtype=bfloat16') == 2
  assert 'config.prior.dtype: the prior \'embedded\' has no such setting' in capsys.readouterr().err

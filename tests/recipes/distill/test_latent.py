"""The Stable Diffusion path of a whole run, with tiny random weights in the layout of diffusers."""

import json

import jax
import numpy as np
import pytest

from experiments import _command, _config
from experiments import distill as command
from jax3dgen.core import launch
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from tests import commands, published

CONFIG = commands.ROOT / 'configs' / 'sd15.py:tiny'


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tiny') / 'sd'
  published.pipeline(folder)
  return folder


def call(workdir, weights, *args):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(
        command.run, command.__doc__, config='configs/sd15.py', flags=command.flags,
        complete=command.complete, argv=[
            f'--config={CONFIG}', f'--workdir={workdir}', f'--config.prior.weights={weights}',
            '--config.prompt=a red bear', '--config.checkpoint.every=1',
            '--config.log.preview_every=0', '--config.result.mesh_resolution=16',
            '--config.result.turntable_frames=1', *args])


@pytest.mark.slow
def test_runs_end_to_end_checkpoints_and_resumes(weights, tmp_path, capsys):
  quick = '--config.render.latent_steps=1'  # then the encoder's turn comes
  with pytest.MonkeyPatch.context() as patch:  # dies when its steps are done
    patch.setattr(distill.outputs, 'write', lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      call(tmp_path, weights, '--config.train.steps=1', quick)
  assert call(tmp_path, weights, '--config.train.steps=3', quick) == 0
  figures = json.loads((tmp_path / 'result.json').read_text())
  assert figures['steps'] == 3 and (tmp_path / 'mesh.glb').exists()
  rows = (tmp_path / 'metrics.csv').read_text().splitlines()
  assert rows[-1].startswith('3,') and len(rows) >= 2


def test_the_step_gets_no_text_encoder_and_the_critic_sees_cameras(weights):
  config = _config.load(str(CONFIG))[1]
  config.prior.weights, config.prompt, config.distill.name = str(weights), 'a bear', 'vsd'
  parts = distill_parts.build(distill.complete(config))  # traces the step
  assert sorted(parts.params) == ['denoiser', 'vae']
  trainable = parts.state.distill.trainable
  assert all('attn' in name for name in trainable['adapters'])
  assert trainable['camera']['in'].shape == (16, 32)  # what is added to the time embedding
  assert np.isfinite(jax.tree.leaves(trainable)[0]).all()


def test_the_classifier_may_use_the_prior_s_attention(weights):
  config = _config.load(str(CONFIG))[1]
  config.prior.weights, config.prompt, config.distill.name = str(weights), 'a bear', 'sds_rectified'
  config = distill.complete(config)
  config.distill.classifier = 'tests.fakes.attention_classifier'
  _, params, *_ = distill_parts.load_prior(config)
  assert params['classifier']['maps'].shape == (2, 8, 8) and 'text' not in params

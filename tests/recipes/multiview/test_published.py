"""The loop on published U-Nets: tiny random weights in the layout of diffusers, figurines and a
user's own objects, by the command."""

import json

from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs import multiview_d3po
from jax3dgen.core import weights
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.multiview import evaluate, problem, run
from tests import commands, published
from tests.data.test_view_folder import objects

SMALL = ('--config.objects.pool=2', '--config.objects.test=2', '--config.sampler.steps=4',
         '--config.rollout.samples=2', '--config.batch=4', '--config.loss.first=1',
         '--config.loss.last=2', '--config.train.steps=2', '--config.lora.rank=2',
         '--config.prior.remat=false')


def test_what_needs_true_views_is_named(tmp_path):
  config = multiview_d3po.get_config('sdxl')
  config.objects.folder = str(objects(tmp_path, views=False))
  for field, value, words in (('loss.simple', 1.0, 'config.loss.simple=1.0 needs'),
                              ('score.by', 'psnr', "config.score.by='psnr' needs"),
                              ('loss.name', 'sft', "config.loss.name='sft' needs")):
    c = config.copy_and_resolve_references()
    c.score.by, c.loss.simple = 'matches', 0.0
    c.update_from_flattened_dict({field: value})
    with pytest.raises(ConfigError, match=words):
      problem.build(FrozenConfigDict(c))


def test_views_without_truth_have_no_likeness():
  test = problem.Views(np.zeros(1, np.int32), np.zeros((1, 8, 8, 3)), None)
  views = np.random.default_rng(0).uniform(size=(1, 5, 8, 8, 3)).astype(np.float32)
  assert evaluate.against_truth(views, test, np.zeros(1, int)) == {}
  rows = evaluate.against_truth(views, test._replace(images=views), np.zeros(1, int))
  assert rows.keys() == {'psnr', 'ssim', 'feature_distance'} and rows['psnr'][0] > 60
  rows |= {'object': np.zeros(1, int), 'spread': np.full(1, np.nan), 'metric': np.ones(1)}
  assert evaluate.columns(rows) == ['psnr', 'ssim', 'feature_distance', 'metric']
  figures = evaluate.summary(rows)
  assert figures['frechet'] is None and 'hands_count' not in figures


def test_a_base_is_trained_by_the_net_of_its_kind(tmp_path):
  config = multiview_d3po.get_config('sd21')
  config.base.train.steps = 1
  with pytest.raises(ConfigError, match="base.name='multiview_latent' does not train"):
    run.base_prior(config, tmp_path)


def multiview(variant, folder, workdir, *args):
  config = commands.ROOT / 'configs' / f'multiview_d3po.py:{variant}'
  return commands.run('multiview', '--config', config, '--workdir', workdir,
                      f'--config.prior.weights={folder}', *SMALL, *args)


@pytest.mark.slow
def test_sd21_trains_its_leaves_and_is_tuned_on_figurines(tmp_path):
  """Trained leaves, rollouts, the oracle's preferences, tuning, evaluation; again, finished."""
  folder, workdir = tmp_path / 'sd', tmp_path / 'run'
  published.pipeline(folder, output='v_prediction')
  base = [f'--config.base.{name}=2' for name in (
      'train.steps', 'train.batch', 'data.count', 'test.objects', 'sample.steps')]
  base += ['--config.base.optim.warmup=1', '--config.base.prior.remat=false']
  result = multiview('sd21', folder, workdir, *base)
  assert result.returncode == 0, result.stderr
  figures = json.loads((workdir / 'result.json').read_text())
  assert figures['tuning']['pairs'] == 2 and figures['tuning']['agreement'] == 1.0
  assert figures['rows']['base']['digest'] != figures['rows']['tuned']['digest']
  assert '| tuned |' in result.stdout and 'hands' in result.stdout
  names = set(weights.Tensors(workdir / 'adapters.safetensors'))
  assert 'down_blocks_0/attentions_0/transformer_blocks_0/attn1/to_q/kernel/b' in names
  leaves = set(weights.Tensors(workdir / 'base' / 'weights' / 'weights.safetensors'))
  assert 'denoiser/slot' in leaves and all('attn1' in name or 'slot' in name for name in leaves)
  again = multiview('sd21', folder, workdir, *base)
  assert again.returncode == 0 and 'is finished' in again.stdout


@pytest.mark.slow
def test_sdxl_is_tuned_on_objects_without_true_views(tmp_path):
  folder, workdir = tmp_path / 'sdxl', tmp_path / 'run'
  published.pipeline(folder, large=True)
  own = (f'--config.objects.folder={objects(tmp_path / "own", views=False)}',
         '--config.objects.size=24', '--config.sampler.guidance=2.0')
  refused = multiview('sdxl', folder, workdir, *own)
  assert refused.returncode == 2 and 'needs true views of every object' in refused.stderr
  result = multiview('sdxl', folder, tmp_path / 'other', *own, '--config.loss.simple=0.0',
                     '--config.score.by=metric')
  assert result.returncode == 0, result.stderr
  figures = json.loads((tmp_path / 'other' / 'result.json').read_text())
  assert figures['tuning']['pairs'] == 2 and figures['tuning']['agreement'] is None
  assert set(figures['change']) == {'metric', 'matches'}
  assert 'PSNR' not in result.stdout.split('config')[0]

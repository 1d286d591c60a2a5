"""What the classifier of noisy pictures learns from, its loss by hand, and its whole run."""

import json
import types

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest
from scipy import special

from configs import noisy_pose as configs
from jax3dgen.core import parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base
from jax3dgen.perception import noisy_pose as classifier
from jax3dgen.recipes.evaluate import pose_classifier
from jax3dgen.recipes.nets import noisy_pose, noisy_pose_step

CFG = FrozenConfigDict(configs.get_config('tiny'))


def noise(key, count, views):
  """Pictures of nothing: compile in no time."""
  return jax.random.uniform(key, (count, 32, 32, 3)), jnp.arange(count) % 4


def test_poses_are_the_sectors_of_objectives():
  azimuth = np.linspace(-3.1, 9.0, 200)
  pose = noisy_pose_step.pose_of(jnp.asarray(azimuth, jnp.float32))
  np.testing.assert_array_equal(pose, pose_classifier.side_of(azimuth))
  view = types.SimpleNamespace(camera=types.SimpleNamespace(azimuth=jnp.float32(azimuth)))
  np.testing.assert_array_equal(pose, base.sector(view, 4))


def test_noise_has_the_schedule_of_the_prior():
  images = jnp.full((2, 64, 64, 3), 0.75)
  seen = np.asarray(noisy_pose_step.noised(jax.random.key(0), images, jnp.array([0.0, 0.5])))
  np.testing.assert_allclose(seen[0], 0.75, atol=1e-6)
  # cos(pi / 4) of x_0 = 0.5, and sin(pi / 4) of the noise, as a picture
  assert seen[1].mean() == pytest.approx(0.5 + 0.25 * np.sqrt(0.5), abs=0.015)
  assert seen[1].std() == pytest.approx(0.5 * np.sqrt(0.5), abs=0.015)


def test_loss_is_the_cross_entropy_over_all_noises(monkeypatch):
  logits = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
  monkeypatch.setattr(classifier, 'logits', lambda net, params, images, t: jnp.asarray(logits))
  images, pose = noise(jax.random.key(0), 3, None)
  loss, terms = jax.jit(lambda key: noisy_pose_step.objective(None, None, key, images, pose, 2))(
      jax.random.key(1))
  rows = -special.log_softmax(logits, -1)[range(6), [0, 1, 2, 0, 1, 2]]
  assert float(loss) == pytest.approx(rows.mean(), rel=1e-5)
  assert float(terms['accuracy']) == pytest.approx(
      np.mean(logits.argmax(-1) == [0, 1, 2, 0, 1, 2]))


@pytest.mark.slow
def test_run_writes_a_folder_that_loads_and_resumes(tmp_path, monkeypatch):
  monkeypatch.setattr(noisy_pose_step, 'pictures', noise)
  config = configs.get_config('tiny')
  folder = noisy_pose.run(config, tmp_path)
  params = classifier.read(folder)
  assert classifier.classify(params, jnp.ones((3, 48, 48, 3)), jnp.zeros(3), None).shape == (3, 4)
  record = json.loads((folder / 'config.json').read_text())
  assert [row['t'] for row in record['measured']] == list(noisy_pose.LEVELS)
  assert record['config']['train']['steps'] == 6
  assert '| 0.65 | ' in (folder / 'card.md').read_text()
  for name in ('curve.csv', 'curve.svg'):
    assert (folder / name).stat().st_size > 0
  digest = (folder / 'sha256').read_text()
  (folder / 'sha256').unlink()
  assert (noisy_pose.run(config, tmp_path) / 'sha256').read_text() == digest


def test_measured_figures_are_those_of_the_rows(monkeypatch):
  p = np.tile(np.float32([0.7, 0.1, 0.1, 0.1]), (len(noisy_pose.LEVELS), 4, 1))
  monkeypatch.setattr(noisy_pose, '_judged', lambda *_: (p, np.array([0, 0, 0, 1])))
  row = noisy_pose.measure(None, CFG)[3]
  assert row == {'t': 0.5, 'accuracy': 0.75, 'confidence': pytest.approx(0.7),
                 'log_loss': pytest.approx(-(3 * np.log(0.7) + np.log(0.1)) / 4)}


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
  config = configs.get_config('tiny')
  with config.unlocked():
    config.train.batch = 2 * parallel.device_count() + 2
  with pytest.raises(ConfigError, match='batch'):
    noisy_pose.run(config, tmp_path)

"""The classifier of poses in noisy pictures: its labels and noise, its loss by hand, a run."""

import json
import types

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest
from scipy import special

from configs.nets import noisy_pose as configs
from jax3dgen.core import rng
from jax3dgen.distill import base
from jax3dgen.perception import noisy_pose as classifier
from jax3dgen.recipes.evaluate import pose_classifier
from jax3dgen.recipes.nets import noisy_pose, ship

CFG = FrozenConfigDict(configs.get_config('tiny'))


def noise(key, count, views):
  """Pictures without figurines: they compile in no time."""
  return jax.random.uniform(key, (count, 32, 32, 3)), jnp.arange(count) % 4


def test_poses_are_the_sectors_of_objectives():
  azimuth = np.linspace(-3.1, 9.0, 200)
  pose = noisy_pose.pose_of(jnp.asarray(azimuth, jnp.float32))
  np.testing.assert_array_equal(pose, pose_classifier.side_of(azimuth))
  view = types.SimpleNamespace(camera=types.SimpleNamespace(azimuth=jnp.float32(azimuth)))
  np.testing.assert_array_equal(pose, base.sector(view, 4))


def test_noise_has_the_schedule_of_the_prior():
  images = jnp.full((2, 64, 64, 3), 0.75)
  noisy = np.asarray(noisy_pose.noisy_images(jax.random.key(0), images, jnp.array([0.0, 0.5])))
  np.testing.assert_allclose(noisy[0], 0.75, atol=1e-6)
  # cos(pi / 4) of x_0 = 0.5, and sin(pi / 4) of the noise, as a picture
  assert noisy[1].mean() == pytest.approx(0.5 + 0.25 * np.sqrt(0.5), abs=0.015)
  assert noisy[1].std() == pytest.approx(0.5 * np.sqrt(0.5), abs=0.015)


def test_loss_is_the_cross_entropy_over_all_noises(monkeypatch):
  logits = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
  monkeypatch.setattr(classifier, 'logits', lambda net, params, images, t: jnp.asarray(logits))
  images, pose = noise(jax.random.key(0), 3, None)
  loss, terms = jax.jit(lambda key: noisy_pose.objective(None, None, key, images, pose, 2))(
      jax.random.key(1))
  rows = -special.log_softmax(logits, -1)[range(6), [0, 1, 2, 0, 1, 2]]
  assert float(loss) == pytest.approx(rows.mean(), rel=1e-5)
  assert float(terms['accuracy']) == pytest.approx(
      np.mean(logits.argmax(-1) == [0, 1, 2, 0, 1, 2]))


@pytest.mark.slow
def test_run_writes_a_folder_that_loads(tmp_path, monkeypatch):
  """A whole tiny run on pictures that compile in no time; its figures again from the folder."""
  monkeypatch.setattr(noisy_pose, 'pictures', noise)
  folder = ship.run(noisy_pose.NET, configs.get_config('tiny'), tmp_path)
  params = classifier.read(folder)
  record = json.loads((folder / 'config.json').read_text())
  assert [row['t'] for row in record['measured']] == list(noisy_pose.LEVELS)
  assert record['config']['train']['steps'] == 6
  key = rng.stream(jax.random.split(jax.random.key(ship.HELD_OUT), 1)[0], 'pictures')
  images, pose = noise(key, noisy_pose.CHUNK, None)
  p = np.asarray(classifier.classify(params, images, jnp.zeros(len(images)), None))
  first = record['measured'][0]  # t = 0: no noise
  assert first['accuracy'] == pytest.approx((p.argmax(-1) == np.asarray(pose)).mean(), abs=0.011)
  assert first['confidence'] == pytest.approx(p.max(-1).mean(), rel=1e-4)
  assert f'| 0 | {first["accuracy"]:.1%} |' in (folder / 'card.md').read_text()


def test_figures_by_hand():
  p = np.tile(np.float32([0.7, 0.1, 0.1, 0.1]), (len(noisy_pose.LEVELS), 4, 1))
  row = noisy_pose.figures(p, np.array([0, 0, 0, 1]))[3]
  assert row == {'t': 0.5, 'accuracy': 0.75, 'confidence': pytest.approx(0.7),
                 'log_loss': pytest.approx(-(3 * np.log(0.7) + np.log(0.1)) / 4)}

"""The shipped classifier of noisy pictures on fresh views, what it is asked for, its folder."""

import json
import shutil

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from jax3dgen.core import camera, weights
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.perception import noisy_pose
from jax3dgen.recipes.nets import noisy_pose as trainer

VIEWS = trainer.default_config().views
COUNT = 48


@pytest.fixture(scope='module')
def params():
  return noisy_pose.load('a green unicorn', ConfigDict({'poses': ''}))


@pytest.fixture(scope='module')
def views():
  return jax.jit(lambda key: trainer.pictures(key, COUNT, VIEWS))(jax.random.key(5))


def measured():
  rows = json.loads((noisy_pose.shipped() / 'config.json').read_text())['measured']
  return {row['t']: row for row in rows}


@pytest.mark.parametrize('t', [0.0, 0.65])
def test_accuracy_on_new_views_is_as_recorded(params, views, t):
  images, pose = views
  level = jnp.full(COUNT, t)
  noisy = trainer.noisy_images(jax.random.key(6), images, level) if t else images
  p = np.asarray(jax.jit(noisy_pose.classify, static_argnums=3)(params, noisy, level, None))
  np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
  share = measured()[t]['accuracy']
  error = np.sqrt(share * (1 - share) / COUNT)
  assert (p.argmax(-1) == pose).mean() > share - 3 * error


def test_what_is_recorded_is_calibrated_and_falls_with_the_noise():
  rows = [row for _, row in sorted(measured().items())]
  for row in rows:
    assert abs(row['accuracy'] - row['confidence']) < 0.03
  accuracy = [row['accuracy'] for row in rows]
  assert accuracy == sorted(accuracy, reverse=True) and accuracy[0] > 0.95 and accuracy[-1] > 0.25
  assert (noisy_pose.shipped() / 'weights.safetensors').stat().st_size <= 300_000


def test_its_gradient_is_finite_at_every_level(params, views):
  images = views[0][:4]
  levels = jnp.array([0.0, 0.1, 0.9, 1.0])
  slope = jax.jit(jax.grad(lambda x: jnp.log(
      noisy_pose.classify(params, x, levels, None)[:, 2]).sum()))(images)
  assert bool(jnp.isfinite(slope).all()) and float(jnp.abs(slope).max()) > 0


def test_larger_renders_are_resized(params, views):
  small = views[0][:4]
  large = jnp.repeat(jnp.repeat(small, 2, 1), 2, 2)
  classify = jax.jit(lambda x: noisy_pose.classify(params, x, jnp.zeros(4), None))
  np.testing.assert_allclose(classify(large), classify(small), atol=0.05)


def test_its_poses_are_ordered_as_in_the_objectives():
  assert noisy_pose.POSES == camera.SECTORS
  noisy_pose.load('', ConfigDict({'poses': ' '.join(camera.SECTORS)}))
  with pytest.raises(ConfigError, match='front, left, back, right'):
    noisy_pose.load('', ConfigDict({'poses': 'front back'}))


def test_a_damaged_folder_is_refused(tmp_path):
  folder = tmp_path / 'weights'
  shutil.copytree(noisy_pose.shipped(), folder)
  (folder / 'config.json').write_text('{}')
  with pytest.raises(WeightError, match='sha256'):
    noisy_pose.read(folder)
  weights.seal(folder, ('weights.safetensors', 'config.json'))
  assert noisy_pose.read(folder)

"""The measurement of the pose classifier: its truth, its tables, its files."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import pose_classifier as configs
from jax3dgen.core import camera as cameras
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base
from jax3dgen.perception import pose, templates
from jax3dgen.recipes.evaluate import pose_classifier, pose_classifier_page


def test_sides_are_the_sectors_of_the_objectives():
  azimuth = np.deg2rad(np.arange(-353.0, 720, 10))  # never just on a border
  view = type('View', (), {'camera': cameras.orbit(azimuth, 0.0, 3.0, 0.7)})
  np.testing.assert_array_equal(pose_classifier.side_of(azimuth), base.sector(view, 4))


def synthetic(count=60):
  """(Templates of four directions, views of one kind that look exactly like their own)."""
  rng = np.random.default_rng(0)
  patches = rng.normal(size=(4, 4, 4, 5))
  patches[:, :, 1:3] += 9.0
  tokens = np.eye(4, 5)
  references = pose.from_features(tokens[:, None], patches[:, None])
  side = np.arange(count) % 4
  return references, {'token': np.float32(tokens[side]), 'patches': np.float32(patches[side]),
                      'kind': np.arange(count) % 2, 'azimuth': np.float32(side * np.pi / 2),
                      'elevation': np.deg2rad(np.linspace(-9, 59, count))}


def test_rows_hold_all_views_of_the_kind():
  references, views = synthetic()
  rows = pose_classifier.rows_of_kind(references, templates.POSES, views, 1)
  full = [row for row in rows if row['form'] == 'full']
  assert [row['elevation'] for row in full] == [0, 1, 2]
  total = np.sum([row['matrix'] for row in full], 0)
  np.testing.assert_array_equal(total, np.diag([0, 15, 0, 15]))  # odd views show left and right
  height = np.rad2deg(views['elevation'][1::2])
  assert [np.sum(row['matrix']) for row in full] == list(np.histogram(
      height, pose_classifier.ELEVATIONS_DEG)[0])
  p = jax.jit(pose.probabilities)(references, jnp.asarray(views['token'][1::2]),
                         jnp.asarray(views['patches'][1::2]), 0.05)
  loss = -np.log(np.asarray(p)[np.arange(30), pose_classifier.side_of(views['azimuth'][1::2])])
  assert full[0]['log_loss']['0.05'] == pytest.approx(loss.sum(), rel=1e-4)


def test_views_without_a_template_are_left_out():
  references, views = synthetic()
  two = jax.tree.map(lambda x: x[1:3] if x.ndim and len(x) == 4 else x, references)
  rows = pose_classifier.rows_of_kind(two, ('left', 'back'), views, 1)
  assert np.sum([row['matrix'] for row in rows if row['form'] == 'texture']) == 15


def test_the_page_says_what_was_counted():
  references, views = synthetic()
  rows = [{'templates': 'renders', 'kind': 'bear', 'views': 'clean', **row}
          for row in pose_classifier.rows_of_kind(references, templates.POSES, views, 1)]
  result = {'count': 30, 'kinds': ['bear'], 'folder': '', 'elevations_deg': (-10, 10, 30, 60),
            'rows': rows}
  page = pose_classifier_page.text(result, 'command')
  assert '`command`' in page and '30 views of figurines (bear)' in page
  assert 'with the four shipped pictures of its kind' in page
  assert 'with the pictures in `mine`;' in pose_classifier_page.text(
      result | {'folder': 'mine'}, 'command')
  assert '| renders | full | 100.0% (88.6 to 100.0) | 1.000 | 1.000 | 1.000 |' in page
  assert pose_classifier_page.accuracy(np.array([[8, 2], [0, 0]])).startswith('80.0% (49.0 to 94.3')


@pytest.mark.slow
def test_run_writes_its_files(tmp_path, monkeypatch):
  monkeypatch.setattr(templates, 'build', functools.partial(templates.build, copies=2))
  result = pose_classifier.run(configs.get_config('tiny'), tmp_path, 'python')
  assert json.loads((tmp_path / 'pose_classifier.json').read_text())['kinds'] == ['bear']
  assert (tmp_path / 'confusion.png').read_bytes().startswith(b'\x89PNG')
  assert 'sketches, spoilt' in (tmp_path / 'pose_classifier.md').read_text()
  matrix = pose_classifier_page.total(result['rows'], templates='renders', views='clean',
                                      form='full')
  assert matrix.sum() == result['count'] == 40  # a sixth of the views shows bears


def test_prompts_and_counts_that_cannot_be_measured(tmp_path):
  config = configs.get_config('tiny')
  with config.unlocked():
    config.test.count = 10
  with pytest.raises(ConfigError, match='at least 240'):
    pose_classifier.run(config, tmp_path)
  config.prompt = 'a cat'
  with pytest.raises(ConfigError, match="'a cat' names none"):
    pose_classifier.run(config, tmp_path)

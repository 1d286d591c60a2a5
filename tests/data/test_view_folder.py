"""Folders of a user's own objects: references, true views, messages."""

import numpy as np
from PIL import Image
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.data import multiview as world
from jax3dgen.data import view_folder
from jax3dgen.export import turntable


def objects(folder, views=True):
  """Writes two objects for each set: with all views, or a lone picture and one side."""
  rng = np.random.default_rng(0)
  picture = lambda: rng.uniform(size=(24, 24, 3)).astype(np.float32)
  for split in ('pool', 'test', 'train'):
    for name in ('a', 'b'):
      for slot in world.SLOTS if views else ('left',):
        turntable.write_png(folder / split / name / f'{slot}.png', picture())
    if not views:
      turntable.write_png(folder / split / 'c.png', picture())
  return folder


def test_objects_of_a_folder(tmp_path):
  slot, reference, views = view_folder.read(objects(tmp_path / 'whole'), 'pool', 5, 16)
  assert slot.tolist() == [0, 1] and views.shape == (2, 5, 16, 16, 3)
  np.testing.assert_array_equal(reference, views[[0, 1], [0, 1]])
  folder = objects(tmp_path / 'parts', views=False)
  slot, reference, views = view_folder.read(folder, 'test', 5, 24)
  assert slot.tolist() == [3, 3, 0] and views is None and reference.shape == (3, 24, 24, 3)
  assert len(view_folder.read(folder, 'test', 2, 24)[0]) == 2
  rgba = np.zeros((20, 20, 4), np.uint8)
  rgba[5:15, 5:15] = 255, 0, 0, 255
  (tmp_path / 'one' / 'pool').mkdir(parents=True)
  Image.fromarray(rgba).save(tmp_path / 'one' / 'pool' / 'red.png')
  picture = view_folder.read(tmp_path / 'one', 'pool', 1, 20)[1][0]
  np.testing.assert_allclose(picture[[0, 10], [0, 10]], [[1, 1, 1], [1, 0, 0]], atol=1 / 255)


def test_folders_that_cannot_be_used_are_one_sentence(tmp_path):
  with pytest.raises(ConfigError, match='no picture in .*nothing'):
    view_folder.read(tmp_path / 'nothing', 'pool', 1, 8)
  turntable.write_png(tmp_path / 'wide' / 'pool' / 'a.png', np.ones((8, 10, 3), np.float32))
  with pytest.raises(ConfigError, match='not square: 10 x 8'):
    view_folder.read(tmp_path / 'wide', 'pool', 1, 8)

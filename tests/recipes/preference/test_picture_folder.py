"""Pictures of one's own as the images of preference tuning."""

import numpy as np
from PIL import Image
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Mesh
from jax3dgen.export import mesh_io
from jax3dgen.recipes.preference import config as settings
from jax3dgen.recipes.preference import picture_folder, problem

TETRAHEDRON = Mesh(np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
                   np.int32([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))


def picture(path, light=200):
  pixels = np.zeros((40, 40, 4), np.uint8)
  pixels[10:30, 12:28] = (light, light, light, 255)
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
  for name, light in (('b.png', 100), ('a/1.png', 150), ('a/2.png', 200), ('c.png', 250)):
    picture(tmp_path / 'pool' / name, light)
  for split in ('validation', 'test'):
    picture(tmp_path / split / 'chair' / 'front.png')
    mesh_io.write(tmp_path / split / 'chair' / 'true.obj', TETRAHEDRON)
  return tmp_path


def test_pictures_are_grouped_by_object(folder):
  paths, index, mesh = picture_folder.read(folder, 'pool', 10)
  assert [path.name for path in paths] == ['1.png', '2.png', 'b.png', 'c.png']
  assert index.tolist() == [0, 0, 1, 2] and mesh is None
  assert len(picture_folder.read(folder, 'pool', 3)[0]) == 3


def test_a_mesh_beside_the_pictures_is_the_true_shape(folder):
  _, _, mesh = picture_folder.read(folder, 'test', 10)
  np.testing.assert_allclose(mesh(0).vertices, TETRAHEDRON.vertices)


def test_conditions_are_those_of_the_cropped_pictures(folder):
  config = settings.default_config()
  config.generator.name = 'tests.fakes.box_generator'
  config.images.folder, config.batch = str(folder), 3
  built = problem.build(config)
  np.testing.assert_allclose(built.pool.cond.tokens[:, 0, 0] * 255, [150, 200, 100, 250], atol=3)
  assert built.pool.occupancy is None and built.test.mesh is not None
  assert built.pool.object.tolist() == [0, 0, 1, 2]


def test_folders_without_pictures_are_refused(folder):
  with pytest.raises(ConfigError, match='no picture'):
    picture_folder.read(folder, 'pool/a/nothing', 3)
  with pytest.raises(ConfigError, match='no picture'):
    picture_folder.read(folder / 'none', 'pool', 3)

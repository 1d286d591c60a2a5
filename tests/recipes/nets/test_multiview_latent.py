"""Training of leaves of a published U-Net: what it refuses; a whole run is in
tests/recipes/multiview/test_published.py."""

from ml_collections import FrozenConfigDict
import pytest

from configs.nets import multiview_latent as configs
from jax3dgen.core.errors import ConfigError
from jax3dgen.prior import multiview
from jax3dgen.recipes.nets import multiview_latent
from tests.data.test_view_folder import objects


def test_weights_in_another_layout_are_refused():
  config = configs.get_config('tiny')
  for weights in ('', str(multiview.shipped())):
    config.prior.weights = weights
    with pytest.raises(ConfigError, match='no folder in the layout of diffusers'):
      multiview_latent.build(FrozenConfigDict(config))


def test_objects_are_figurines_or_those_of_a_folder_with_all_views(tmp_path):
  config = configs.get_config('tiny')
  config.data.folder, config.data.size = str(objects(tmp_path / 'whole')), 12
  views, slot = multiview_latent.objects(config, 'train', 5)
  assert views.shape == (2, 5, 12, 12, 3) and slot.tolist() == [0, 1]
  config.data.folder = str(objects(tmp_path / 'parts', views=False))
  with pytest.raises(ConfigError, match='lacks one of the views front, right'):
    multiview_latent.objects(config, 'train', 5)

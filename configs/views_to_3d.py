"""A picture to five views to an asset that stands, by the embedded priors.

`:tiny` runs every part in seconds, for tests.
"""

from configs import _papers
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes import views_to_3d


def get_config(variant=''):
  config = views_to_3d.default_config()
  if variant == 'tiny':
    config.sampler.steps = 2
    with config.unlocked():
      _papers.shrink(config.asset)
  elif variant:
    raise ConfigError(f'configs/views_to_3d.py has no variant {variant!r}; it has tiny.')
  return config

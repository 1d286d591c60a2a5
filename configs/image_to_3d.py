"""A picture to a mesh that stands, by the embedded generator.

Expected: the card in jax3dgen/assets/generator has the share of samples that stand. `:trellis` has
the sampler of the published TRELLIS-image-large and needs `--config.generator.weights`, a folder in
its layout. Its objects may face anywhere, and a silhouette does not tell front from back: the
colours of half of them are on the wrong side. `:tiny` is for tests.
"""

from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes import image_to_3d


def get_config(variant=''):
  config = image_to_3d.default_config()
  if variant == 'trellis':
    config.sampler.update({'steps': 25, 'guidance': 5.0})
    config.camera.update({'azimuth_deg': (-180.0, 175.0), 'elevation_deg': (-10.0, 60.0)})
    config.generator.dtype = 'bfloat16'
  elif variant == 'tiny':
    config.sampler.steps = 2
    config.camera.step_deg = 20.0
    config.result.update({'turntable_frames': 3, 'turntable_size': 48, 'drop_seconds': 0.1})
  elif variant:
    raise ConfigError(f'configs/image_to_3d.py has no variant {variant!r}; it has trellis and '
                      'tiny.')
  return config

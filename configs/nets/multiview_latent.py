"""Five views of an object from one picture: leaves trained on Stable Diffusion 2.1 or XL.

`--config.prior.weights` names a folder in the layout of diffusers, `--config.data.folder` objects
in that of `data/view_folder`. `:tiny` runs every part
quickly with any weights, for tests. No such training was made for this project, which has figures
of its embedded prior alone (configs/nets/multiview.py).
"""

from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.nets import multiview_latent


def get_config(variant=''):
  config = multiview_latent.default_config()
  if variant == 'tiny':
    config.data.count = 4
    config.optim.warmup = 1
    config.train.steps = 2
    config.train.batch = 2
    config.sample.steps = 2
    config.test.objects = 2
    config.log.every = config.checkpoint.every = 1
  elif variant:
    raise ConfigError(f'configs/nets/multiview_latent.py has no variant {variant!r}; it has tiny.')
  return config

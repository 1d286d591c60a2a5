"""Five views of a figurine from one picture: the embedded prior with reference attention."""

from jax3dgen.recipes.nets import multiview


def get_config(variant=''):
  config = multiview.default_config()
  if variant == 'tiny':
    config.data.count = 8
    config.optim.warmup = 2
    config.train.steps = 4
    config.train.batch = 4
    config.sample.steps = 2
    config.sample.every = 4
    config.test.objects = 2
    config.log.every = 2
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/nets/multiview.py has no variant {variant!r}; it has tiny.')
  return config

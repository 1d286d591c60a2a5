"""The embedded 32-pixel prior that the package ships.

`prior.py` trained jax3dgen/assets/embedded_prior; the card there has the number of steps and the
final loss. `:tiny` runs every part in seconds, for tests; its samples are meaningless.
"""

from jax3dgen.recipes.nets import prior


def get_config(variant=''):
  config = prior.default_config()
  if variant == 'tiny':
    config.net.channels = (8, 16)
    config.net.embedding = 32
    config.net.head_width = 8
    config.text.width = 16
    config.text.depth = 1
    config.text.heads = 2
    config.data.size = 16
    config.optim.warmup = 5
    config.optim.ema = 0.9
    config.train.steps = 20
    config.train.batch = 8
    config.sample.steps = 3
    config.sample.every = 10
    config.log.every = 5
    config.checkpoint.every = 10
  elif variant:
    raise ValueError(f'configs/nets/prior.py has no variant {variant!r}; it has tiny.')
  return config

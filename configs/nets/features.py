"""The self-supervised features of the embedded prior's images, for the pose classifier.

`features.py` trains the shipped weights in about 25 minutes of two cores; `:tiny` runs every part
in seconds, for tests. The expected metrics are on the card beside the weights, in
jax3dgen/assets/features.
"""

from jax3dgen.recipes.nets import features


def get_config(variant=''):
  config = features.default_config()
  if variant == 'tiny':
    config.net.width = 16
    config.net.depth = 2
    config.net.heads = 2
    config.loss.patches = 4
    config.optim.warmup = 2
    config.train.steps = 6
    config.train.batch = 32
    config.train.figurines = 8
    config.test.count = 64
    config.log.every = 2
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/nets/features.py has no variant {variant!r}; it has tiny.')
  return config

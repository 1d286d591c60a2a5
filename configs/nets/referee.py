"""The referee: a classifier of kind, colour, view sector and face of 32-pixel figurine images.

`referee.py` trains the shipped weights in about 10 minutes of one core; `:tiny` runs every part in
seconds, for tests. The expected metrics are on the card beside the weights, in
jax3dgen/assets/referee: at least 97 % for kind and colour, 95 % for view sector and face.
"""

from jax3dgen.recipes.nets import referee


def get_config(variant=''):
  config = referee.default_config()
  if variant == 'tiny':
    config.net.widths = (8, 8, 8)
    config.net.hidden = 16
    config.optim.warmup = 2
    config.train.steps = 6
    config.train.batch = 16
    config.test.count = 200
    config.test.rejects = 200
    config.log.every = 2
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/nets/referee.py has no variant {variant!r}; it has tiny.')
  return config

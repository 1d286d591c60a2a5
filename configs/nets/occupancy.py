"""The autoencoder of the embedded image-to-3D generator: 32^3 occupancy <-> an 8^3 x 8 latent.

`occupancy.py` trains the shipped weights in about 15 CPU minutes; `:tiny` runs every part in
seconds, for tests. The expected metrics are on the card beside the weights, in
jax3dgen/assets/occupancy: an intersection over union of 0.91, and the same label of stability for
92 % of the objects.
"""

from jax3dgen.recipes.nets import occupancy


def get_config(variant=''):
  config = occupancy.default_config()
  if variant == 'tiny':
    config.net.channels = (2, 2, 4)
    config.net.latent = 2
    config.net.middle = 1
    config.data.count = 20
    config.optim.warmup = 2
    config.train.steps = 6
    config.test.count = 5
    config.log.every = 2
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/nets/occupancy.py has no variant {variant!r}; it has tiny.')
  return config

"""The pose classifier of noised images of the embedded prior, trained on the true poses.

`noisy_pose.py` trains the shipped weights; `:tiny` runs every part in seconds, for tests. The
expected metrics are on the card beside the weights, in jax3dgen/assets/noisy_pose.
"""

from jax3dgen.recipes.nets import noisy_pose


def get_config(variant=''):
  config = noisy_pose.default_config()
  if variant == 'tiny':
    config.net.channels = (8, 8, 8)
    config.net.embedding = 8
    config.optim.warmup = 2
    config.train.steps = 6
    config.train.batch = 16
    config.test.count = 200
    config.log.every = 2
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/nets/noisy_pose.py has no variant {variant!r}; it has tiny.')
  return config

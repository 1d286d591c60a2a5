"""The metric of 3D consistency (MV-D3PO-C): the features tuned with a head on pairs of views.

`consistency.py` trains the shipped weights in about 12 CPU minutes; the expected figures are on the
card beside them, in jax3dgen/assets/consistency. `:paper` has the paper's head, linear on both
features, and its negatives, which are generated views only; `:tiny` runs every part in seconds, for
tests.
"""

from jax3dgen.recipes.nets import consistency


def get_config(variant=''):
  config = consistency.default_config()
  if variant == 'paper':
    config.net.head = 'concat'
    config.negatives.update({'generated': 1.0, 'corrupted': 0.0, 'object': 0.0, 'view': 0.0})
  elif variant == 'tiny':
    config.net.parts = 2
    config.net.width = 4
    config.net.hidden = 8
    config.changed.count = 8
    config.generated.count = 4
    config.sample.steps = 2
    config.optim.warmup = 1
    config.train.steps = 4
    config.train.batch = 8
    config.test.objects = 4
    config.log.every = 2
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/nets/consistency.py has no variant {variant!r}; it has paper and '
                     'tiny.')
  return config

"""Studies of objectives on priors with an exact score: docs/results/toy.md.

`:tiny` runs every study in seconds, for tests.
"""

from jax3dgen.recipes.toy import run as toy


def get_config(variant=''):
  config = toy.default_config()
  if variant == 'tiny':
    config.network.update({'steps': 5, 'batch': 16, 'width': 8, 'particles': 4})
    config.jsd.update({'particles': 12, 'steps': 20, 'guidance': (1.0,),
                       'forms': ('eq12 shared', 'eq12 without minority')})
    config.poses.update({'particles': 8, 'seeds': 2, 'steps': 10, 'scales': (1.0,), 'levels': ()})
    config.esd.update({'steps': 20, 'batch': 16, 'seeds': 2, 'entropies': (0.5,)})
    config.modes.update({'particles': 10, 'steps': 10, 'objectives': ('csd', 'sds rectified',
                                                                     'vsd exact')})
    config.bounds.points = 5
  elif variant:
    raise ValueError(f'configs/toy.py has no variant {variant!r}; it has tiny.')
  return config

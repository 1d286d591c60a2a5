"""The theory of contrastive guidance by numbers: docs/results/contrastive_guidance.md.

`:tiny` draws fewer samples, for tests.
"""

from jax3dgen.recipes import contrastive_guidance


def get_config(variant=''):
  config = contrastive_guidance.default_config()
  if variant == 'tiny':
    config.update({'samples': 500, 'steps': 40, 'alphas': (0.6,),
                   'covariances': ((1.0, 1.0, 0.6),)})
  elif variant:
    raise ValueError(f'configs/contrastive_guidance.py has no variant {variant!r}; it has tiny.')
  return config

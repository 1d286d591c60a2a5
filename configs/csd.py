"""Classifier score distillation; its paper increases the weight of the negative prompt by step.

`csd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('csd', variant)
  if not variant:
    _papers.dreamfusion_light(config)
    config.distill.update({'positive': 1.0, 'weighting': 'sds'})
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

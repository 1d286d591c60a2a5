"""Classifier score distillation; the paper lets the negative prompt's weight grow.

`csd.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('csd', variant)
  if not variant:
    _papers.dreamfusion_light(config)
    config.distill.update({'positive': 1.0, 'weighting': 'sds'})
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

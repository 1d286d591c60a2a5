"""Entropic score distillation with the settings of ProlificDreamer.

`esd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('esd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.distill.update({'guidance': 7.5, 'weighting': 'sds', 'clip': False, 'entropy': 0.5})
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

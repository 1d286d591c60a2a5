"""Entropic score distillation with ProlificDreamer's settings.

`esd.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('esd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.distill.update({'guidance': 7.5, 'weighting': 'sds', 'clip': False, 'entropy': 0.5})
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

"""Consistent flow distillation; a noise cell is as large as a latent pixel at the view's centre.

`cfd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('cfd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.distill.update({'guidance': 75.0, 'weighting': 'sds', 'clip': False, 'cell': 0.02})
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

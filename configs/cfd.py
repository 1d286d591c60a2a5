"""Consistent flow distillation; the cell of noise is a latent pixel of the middle of a view.

`cfd.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('cfd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.distill.update({'guidance': 75.0, 'weighting': 'sds', 'clip': False, 'cell': 0.02})
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

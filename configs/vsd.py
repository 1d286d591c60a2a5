"""Variational score distillation, the first stage of ProlificDreamer, in threestudio.

`vsd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('vsd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.distill.update({'guidance': 7.5, 'weighting': 'sds', 'clip': False})
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

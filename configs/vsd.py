"""Variational score distillation, the first stage of ProlificDreamer, in threestudio.

`vsd.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('vsd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.distill.update({'guidance': 7.5, 'weighting': 'sds', 'clip': False})
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

"""Interval score matching at the guidance and the interval of LucidDreamer.

`ism.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('ism', variant)
  if not variant:
    config.render.size = 512
    config.train.steps = 5000
    config.distill.update({'guidance': 7.5, 'interval': 0.05})
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

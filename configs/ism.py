"""Interval score matching at the guidance and the interval of LucidDreamer.

`ism.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('ism', variant)
  if not variant:
    config.render.size = 512
    config.train.steps = 5000
    config.distill.update({'guidance': 7.5, 'interval': 0.05})
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""Noise-free score distillation at the guidance of its paper.

`nfsd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('nfsd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.distill.guidance = 7.5
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""Score distillation via inversion with the settings of its code.

`sdi.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sdi', variant)
  _papers.falling_level(config)
  if not variant:
    _papers.sdi_surfaces(config)
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

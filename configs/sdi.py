"""Score distillation via inversion with the settings of its code.

`sdi.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sdi', variant)
  _papers.falling_level(config)
  if not variant:
    _papers.sdi_surfaces(config)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""Score distillation sampling with threestudio's settings of DreamFusion.

`sds.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sds', variant)
  if not variant:
    _papers.dreamfusion_light(config)
    config.distill.update({'guidance': 100.0, 'weighting': 'sds', 'clip': False})
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""Score distillation sampling with threestudio's settings of DreamFusion.

`sds.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sds', variant)
  if not variant:
    _papers.dreamfusion_light(config)
    config.distill.update({'guidance': 100.0, 'weighting': 'sds', 'clip': False})
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

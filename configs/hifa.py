"""HiFA: residuals in image space too, annealed noise levels, thin density along rays.

`hifa.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('hifa', variant)
  if not variant:
    config.timestep.update({'rule': 'sqrt', 'min': 0.3, 'max': 0.98})
    config.render.size = 512
    config.regularizers.z_variance = 100.0
    config.distill.guidance = 100.0
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

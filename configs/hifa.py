"""HiFA: latent and image residuals, annealed noise levels, a z-variance penalty.

`hifa.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
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
  config.distill.unlock()  # the objective adds its own fields
  return config

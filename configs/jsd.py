"""Jensen-Shannon score distillation at the guidance and the steps of its paper.

`jsd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('jsd', variant)
  _papers.falling_level(config)
  if not variant:
    _papers.sdi_surfaces(config)
    config.camera.distance = (1.0, 1.5)
    config.render.size = ((0, 256), (2000, 512))
    config.guide.name = 'perp_neg'
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""Jensen-Shannon score distillation at the guidance and the steps of its paper.

`jsd.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from jax3dgen.train import papers


def get_config(variant=''):
  config = papers.start('jsd', variant)
  papers.falling(config)
  if not variant:
    papers.sharp(config)
    config.camera.distance = (1.0, 1.5)
    config.render.size = ((0, 256), (2000, 512))
    config.guide.name = 'perp_neg'
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

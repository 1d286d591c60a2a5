"""Score distillation via inversion with the settings of its code.

`sdi.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for tests.
"""

from jax3dgen.train import papers


def get_config(variant=''):
  config = papers.start('sdi', variant)
  papers.falling(config)
  if not variant:
    papers.sharp(config)
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

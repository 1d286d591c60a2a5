"""Score Jacobian chaining with threestudio's settings.

`sjc.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sjc', variant)
  if not variant:
    config.distill.guidance = 100.0
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

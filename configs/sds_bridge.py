"""SDS-Bridge with the settings of its code: the second stage is the last fifth of the steps.

`sds_bridge.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sds_bridge', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.distill.update({'guidance': 100.0, 'weighting': 'sds', 'switch': 20_000,
                           'bridge_weight': 1.0})
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""SDS-Bridge with the settings of its code: the second stage for the last fifth.

`sds_bridge.py` is for Stable Diffusion 2.1; `:embedded` has the embedded prior, `:tiny` is for
tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sds_bridge', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.distill.update({'guidance': 100.0, 'weighting': 'sds', 'switch': 20_000,
                           'bridge_weight': 1.0})
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

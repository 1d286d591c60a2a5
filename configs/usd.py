"""Uniform score distillation, the first stage of RecDreamer.

`usd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('usd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.auxiliary = 'from side view, from back view'
    config.timestep.update({'max': 0.98, 'rule': 'back_and_forth', 'phases': 2})
    config.render.size = 256
    config.field.update({'finest': 2048, 'interpolation': 'smoothstep'})
    config.regularizers.update({'opaque': 0.0, 'sparsity': 0.0, 'entropy': 100.0})
    config.train.steps = 15_000
    config.distill.update({'guidance': 7.5, 'weighting': 'sds', 'clip': False, 'rect_scale': 1.0,
                           'n_ema': 100, 'decode': 0.5})
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

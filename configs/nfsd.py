"""Noise-free score distillation at the guidance and with the negative prompt of its paper.

`nfsd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests. The
scene is that of `vsd.py`: the paper's own is not specified in full.

field | source (paper) | here | why not
distill.guidance | 7.5 | = |
distill.weighting | 1 - abar | 'sds' |
distill.negative_prompt | the same ten words | 'unrealistic, blurry, low quality, out of focus,
  ugly, low contrast, dull, dark, low-resolution, gloomy' |
threshold | t < 0.2 | t < 0.2 |
timestep.max | 0.98 | (5000, 0.98, 0.5, 5000) | that of `vsd.py`
train.steps | not given | 25000 | that of `vsd.py`
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('nfsd', variant)
  if not variant:
    _papers.prolificdreamer(config)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""SDS-Bridge with the settings of its code: the second stage is the last fifth of the steps.

`sds_bridge.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.
The scene is that of `vsd.py`.

field | source (the authors' code, 3D) | here | why not
distill.guidance | 100 | 100.0 |
distill.weighting | 1 - abar in stage 1 | 'sds' |
distill.bridge_weighting | 1 in stage 2 | 'uniform' |
distill.bridge_weight | 1.0 | = |
distill.switch | 20000 | = |
distill.negative_prompt | the same ten words | 'oversaturated, smooth, pixelated, cartoon, foggy,
  hazy, blurry, bad structure, noisy, malformed' |
target prompt | ends with a full stop | without | the prompt is the user's
guide.front_deg | 30 | 30.0 |
timestep.max | [5000, 0.98, 0.5, 5001] | (5000, 0.98, 0.5, 5000) | the same switch
train.steps | 25000 | = |
regularizers.sparsity | 10.0 | = |
optim.decay | 0.01 | = |
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sds_bridge', variant)
  if not variant:
    _papers.prolificdreamer(config)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

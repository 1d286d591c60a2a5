"""HiFA: latent and image residuals, annealed noise levels, a z-variance penalty.

`hifa.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.

field | source (TS hifa) | here | why not
distill.guidance | 100 | 100.0 |
distill.weighting | 'sds' | = |
distill.image_weight | 0.01 | = | the decoded estimate is not clipped to [0, 1], as TS's is
timestep.rule | 'sqrt' | = |
timestep.min | 0.3 | = |
timestep.max | 0.98 | = |
train.steps | 25000 | = |
camera.distance | (1.0, 1.5) | = |
render.size | 512 | = |
render.random_background | 0.5 | = |
regularizers.sparsity | 1.0 | = |
regularizers.z_variance | 100 | 100.0 |
optim.rates | grid 0.01, networks and background 0.001 | (('grid', 0.01), ('', 0.001)) |
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('hifa', variant)
  if not variant:
    config.timestep.update({'rule': 'sqrt', 'min': 0.3, 'max': 0.98})
    config.camera.distance = (1.0, 1.5)
    config.render.update({'size': 512, 'random_background': 0.5})
    config.regularizers.z_variance = 100.0
    config.optim.rates = _papers.SPLIT_RATES
    config.train.steps = 25_000
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

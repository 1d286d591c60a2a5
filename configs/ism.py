"""Interval score matching at the guidance and the interval of LucidDreamer.

`ism.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests. The
paper optimises Gaussians that start as a point cloud of Point-E; the scene here is that of `sds.py`
without its light.

field | source (the authors' code) | here | why not
distill.guidance | 7.5 | = |
distill.interval | 0.1, falling to 0.025 | 0.05 | the paper's 50 of 1000 levels, constant
distill.inversion_steps | strides of 200 levels | 3 | a compiled program has a fixed number
distill.weighting | 1 - abar (not checked) | 'sds' |
scene | 3D Gaussians | a hash grid | one scene for all objectives
train.steps | 5000 | = |
render.size | 512 | = |
timestep.max | 0.98, to 0.5 in 1500 steps | (0, 0.98, 0.5, 1500) |
views per step | 4 | 1 | memory
negative prompt | in place of the empty one | none | the empty prompt, as in the paper's formula
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('ism', variant)
  if not variant:
    config.render.size = 512
    config.train.steps = 5000
    config.timestep.max = (0, 0.98, 0.5, 0.3)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

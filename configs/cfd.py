"""Consistent flow distillation; a noise cell is as large as a latent pixel at the view's centre.

`cfd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.

field | source (the authors' sd-stage1) | here | why not
distill.guidance | 75 | 75.0 |
distill.weighting | that of DMD | 'sds' | not implemented
distill.cell | noise on triplanes of 2048^2 | 0.02 | cells of a grid in space, see `distill/cfd`
distill.refresh | none, or a rate | 0.01 |
image term | weight 0.01 at guidance 3 | none | not implemented
timestep.max | one level, falling in pieces | (0, 0.98, 0.21, 25000) | one straight line between its
  ends
timestep.min | the same level | (0, 0.98, 0.21, 25000) |
guide.front_deg | 30 | 30.0 |
negative prompt | in place of the empty one | none | the formula's empty prompt
camera.elevation_deg | (0, 40) | (0.0, 40.0) |
camera.distance | (1.3, 1.5) | = |
camera.fovy_deg | (40, 65) | (40.0, 65.0) |
field.table_log2 | 20 | = |
render.size | 128, from a tenth on 512 | ((0, 128), (2500, 512)) |
render.random_background | 0.5 | = |
regularizers.sparsity | 10.0 | = |
regularizers.z_variance | 100.0 | = |
smoothness of normals | 1000 for 2500 steps | none | not implemented
optim.rates | grid 0.01, networks and background 0.001 | (('grid', 0.01), ('', 0.001)) |
optim.eps | 1e-8 | 1e-08 |
train.steps | 25000 | = |
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('cfd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    config.timestep.min = config.timestep.max = (0, 0.98, 0.21, 1.0)
    config.camera.update({'elevation_deg': (0.0, 40.0), 'distance': (1.3, 1.5),
                          'fovy_deg': (40.0, 65.0)})
    config.field.table_log2 = 20
    config.render.size = ((0, 128), (0.1, 512))
    config.regularizers.update({'opaque': 0.0, 'z_variance': 100.0})
    config.optim.update({'eps': 1e-8, 'decay': 0.0})
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

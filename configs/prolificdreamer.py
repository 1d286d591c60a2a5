"""ProlificDreamer in three stages: field by VSD, geometry by SDS on normals, texture by VSD.

`prolificdreamer.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for
tests. The field's settings are those of `configs/vsd.py`.

field | source (R-PD) | here | why not
geometry.distill.name | 'sds' | = | on normals (n + 1) / 2 in the world frame
geometry.distill.guidance | 100 | 100.0 |
geometry.timestep.max | 0.5 | = |
geometry.render.size | 512 | = |
geometry.train.steps | 15000 | = |
geometry.optim.rates | 5e-3 for distances and offsets | (('', 0.005),) |
geometry.mesh.resolution | 256 | = | a body-centred grid, as many vertices up to a factor of two
geometry.mesh.level | 2.5 | = |
offsets | tanh(x) / 256 | = |
first distances | clamp(density - 2.5, -1, 1) | clip(log(density / 2.5), -3, 3) / 3 | the clamp
  leaves steps where densities are large
geometry.mesh.normal_consistency | 5000 | 5000.0 |
geometry.mesh.laplacian | 0.5 | = |
texture.distill.name | 'vsd' | = |
texture.distill.guidance | 7.5 | = |
texture.timestep.max | 0.5 | = |
texture.render.size | 512 | = |
texture.train.steps | 30000 | = |
texture's colours | a new grid, or a copy of the field's | a copy |
"""

from configs import _stages, vsd


def get_config(variant=''):
  return _stages.of(vsd.get_config(variant), 'vsd', variant)

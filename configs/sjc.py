"""The loss of score Jacobian chaining on a hash grid.

`sjc.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests. It is
not threestudio's SJC: that optimises a voxel grid of latents, and this the scene of `sds.py`
without its light.

field | source (TS sjc) | here | why not
distill.guidance | 100 | 100.0 |
distill.centered | true | True |
scene | grid of 100^3 latents, averages, deblurring | a hash grid of colours | one scene for all
  objectives
optimiser | Adamax 0.05 | Adam | that of the hash grid
timestep.min | 0.01 | 0.02 | as for SDS
timestep.max | 0.97 | 0.98 | as for SDS
emptiness loss | weight 1e4, increasing | none | `regularizers.sparsity` instead
regularizers.sparsity | none | 1.0 | in place of the emptiness loss
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sjc', variant)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""Score distillation sampling with threestudio's settings of DreamFusion.

`sds.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.

field | source (TS dreamfusion-sd) | here | why not
distill.guidance | 100 | 100.0 |
distill.weighting | 'sds' | = |
distill.clip | none | False |
train.steps | 10000 | = |
render.size | 64 | = |
render.normals | 'analytic' | = |
shading.probability | 0.75 | = |
shading.albedo_steps | 2001 | 2000 | a fifth of the run
field.bands | from step 2000 a level each 500 | (2000, 0.5, 1.0, 6000) | linear, not in steps
regularizers.orientation | [0, 10, 1000, 5000] | (0, 10.0, 1000.0, 5000) |
regularizers.sparsity | 1.0 | = |
regularizers.opaque | 0.0 | = |
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('sds', variant)
  if not variant:
    _papers.dreamfusion_light(config)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

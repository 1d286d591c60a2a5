"""Classifier score distillation with the settings of the coarse stage of its code.

`csd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests. The
authors' coarse stage has DeepFloyd IF as its prior, in pixels, and a negative prompt whose weight
grows over the run.

field | source (the authors' csd-if) | here | why not
prior | DeepFloyd IF | Stable Diffusion | the priors that are read
distill.positive | 1.0 | = |
distill.negative | 0 to 1 in 5000 steps | (0, 0.0, 1.0, 5000) |
distill.negative_prompt | the same words | 'oversaturated color, ugly, tiling, low quality, noisy' |
distill.weighting | 'uniform' | = |
Perp-Neg | with scale 3 | none | the objective has no guidance scale to apply it to
guide.front_deg | 30 | 30.0 |
timestep.max | [5000, 0.98, 0.5, 5001] | (5000, 0.98, 0.5, 5000) | the same switch
train.steps | 10000 | = |
field.levels | 12 | = |
field.finest | 512 | = |
render.size | 64 | = |
render.normals | 'analytic' | = |
render.random_background | 0.5 | = |
first cameras | front and back only for 1000 steps | all | not implemented
shading.probability | 0.5 | = | TS's magic3d light
shading.textureless | 1.0, coloured by normals | 1.0 | white here
shading.albedo_steps | 5001 | 5000 | half of the run
regularizers.orientation | [0, 1, 100, 5000] | (0, 1.0, 100.0, 5000) |
regularizers.sparsity | [0, 10, 1, 5000] | (0, 10.0, 1.0, 5000) |
optim.rates | 0.001 | (('', 0.001),) |
Adam's beta 2 | 0.999 | 0.99 | one optimiser for all configs
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('csd', variant)
  if not variant:
    config.field.update({'levels': 12, 'finest': 512})
    config.guide.front_deg = 30.0
    config.timestep.max = (0.5, 0.98, 0.5, 0.5)
    config.render.update({'normals': 'analytic', 'random_background': 0.5})
    config.shading.update({'probability': 0.5, 'textureless': 1.0, 'albedo_steps': 0.5,
                           'light': 'magic3d'})
    config.regularizers.update({'orientation': (0, 1.0, 100.0, 0.5),
                                'sparsity': (0, 10.0, 1.0, 0.5)})
    config.optim.rates = (('', 1e-3),)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

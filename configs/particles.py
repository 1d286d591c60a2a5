"""Images as particles on the embedded prior: the poses under an objective (RecDreamer App. E).

The prompt has no view phrases, so the poses depend on the prior and the objective alone. `:control`
targets the camera's pose for each particle (Appendix C.5; needs an objective with a rectifier);
`:tiny` runs every part in seconds, for tests.
"""

from jax3dgen.recipes.particles import run as particles


def get_config(variant=''):
  config = particles.default_config()
  config.prompt = 'a red bear'  # the object, in the vocabulary of the prior
  if variant == 'control':
    config.distill.name = 'usd'
    config.distill.control = True
    config.distill.update({'tweedie': 'guided', 'feed': 'render'})  # docs/results/particles.md
  elif variant == 'tiny':
    config.particles.count = 4
    config.train.steps = 6
    config.log.every = 2
    config.log.preview_every = 3
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/particles.py has no variant {variant!r}; it has control and tiny.')
  return config



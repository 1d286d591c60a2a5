"""Images as particles on the embedded prior: which poses an objective leaves (RecDreamer App. E).

The prompt has no view phrases, so that the poses are the prior's own and what the objective makes
of them. `:control` asks each particle for the pose of its camera (Appendix C.5; an objective with a
rectifier); `:tiny` runs every part in seconds, for tests.
"""

from jax3dgen.recipes.particles import run as particles


def get_config(variant=''):
  config = particles.default_config()
  config.prompt = 'a red bear'  # what to make, in the words that the prior knows
  if variant == 'control':
    config.distill.name = 'usd'
    config.distill.control = True
    config.distill.tweedie = 'guided'  # as docs/results/particles.md was made
  elif variant == 'tiny':
    config.particles.count = 4
    config.train.steps = 6
    config.log.every = 2
    config.log.preview_every = 3
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/particles.py has no variant {variant!r}; it has control and tiny.')
  return config



"""Rectification of an attribute in place of the pose (RecDreamer, Figure 15): hats or colours.

`:hat`, the default: one in ten figurines of the embedded prior's training pictures wears a hat, and
one in five of these captions omits it, so samples of 'a red bear' rarely have one. `:color`:
captions always name a colour; samples of 'a bear', a prompt outside the training captions, are
gray. `:tiny` runs every part in seconds, for tests.
"""

from jax3dgen.data import figurines
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.particles import attributes

STEPS = 120


def get_config(variant=''):
  config = attributes.default_config()
  config.distill.name = 'sds_rectified'
  config.distill.update({'tweedie': 'guided', 'feed': 'render'})  # docs/results/attributes.md
  config.distill.classifier = 'phrases'
  config.distill.n_ema = 100  # views: six steps, at all noise levels
  config.distill.templates = 'a red bear with a hat|a red bear'  # a text for each class
  config.distill.classes = 2
  config.train.steps = STEPS
  config.optim.rates = (('', 0.02),)
  config.timestep.min = (STEPS // 12, 0.6, 0.06, 3 * STEPS // 4)
  config.timestep.max = (0, 0.96, 0.6, STEPS)
  config.log.preview_every = STEPS // 4
  if variant == 'color':
    config.attributes.name = 'color'
    config.prompt = 'a bear'
    config.distill.templates = '|'.join(f'a {color} bear' for color in figurines.COLORS)
    config.distill.classes = len(figurines.COLORS)
  elif variant == 'tiny':
    config.attributes.update({'seeds': 1, 'views': 400})
    config.particles.count = 4
    config.train.steps = 2
    config.log.preview_every = 2
  elif variant not in ('', 'hat'):
    raise ValueError(f'configs/attributes.py has no variant {variant!r}; it has hat, color and '
                     'tiny.')
  return config


default_config = distill_config.default_config  # the source of help texts of shared fields

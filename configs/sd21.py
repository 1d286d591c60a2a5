"""Text to 3D with Stable Diffusion 2.1: a base for any objective, with threestudio's settings.

`--config.prior.weights` names a folder in the layout of diffusers, or a hub id. Another objective
is `--config.distill.name=NAME`, with its own settings (guidance, weighting and so on) for Stable
Diffusion; configs/NAME.py has its scene and schedules, too. Images are encoded at the size of the
weights: 512 pixels for the base model, 768 for the v-model. `:tiny` is a run of seconds with any
weights, for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.model('sd21', variant)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

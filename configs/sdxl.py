"""Text to 3D with Stable Diffusion XL: a base for any objective, with threestudio's settings.

`--config.prior.weights` names a folder in the layout of diffusers, or a hub id. Another objective
is `--config.distill.name=NAME`, with its own settings (guidance, weighting and so on) for Stable
Diffusion; configs/NAME.py has its scene and schedules, too. Images are encoded at 1024 pixels, four
times the work of 512; `--config.prior.size=512` is a size that the network was trained less on.
`:tiny` is a run of seconds with any weights, for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.model('sdxl', variant)
  config.prior.remat = True
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""Text to 3D with Stable Diffusion XL: a base for any objective, at threestudio's settings.

`--config.prior.weights` names a folder in the layout of diffusers, or a hub id. Another objective
is `--config.distill.name=NAME`; configs/NAME.py has the settings of its paper. Images are encoded
at 1024 pixels, four times the work of 512; `--config.prior.size=512` asks the net for what it was
trained on less. `:tiny` makes a run of seconds with the weights that it is given, for tests.
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.model('sdxl', variant)
  config.prior.remat = True
  config.lock()
  config.distill.unlock()  # the objective brings further fields
  return config

"""Images sampled from a prior: the embedded one, or Stable Diffusion with the published settings.

`:sd15`, `:sd21` and `:sdxl` need `--config.prior.weights`, a folder in the layout of diffusers or a
hub id; `:tiny` samples one image in few steps, for tests.
"""

from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes import sample

GUIDANCE = {'sd15': 7.5, 'sd21': 7.5, 'sdxl': 5.0}


def get_config(variant=''):
  config = sample.default_config()
  if variant == 'tiny':
    config.update({'prompts': ('a red bear',), 'count': 1, 'steps': 3})
  elif variant in GUIDANCE:
    config.update({'prompts': ('a zombie bust, head sculpture',), 'sampler': 'dpm_solver',
                   'steps': 25, 'guidance': GUIDANCE[variant], 'clip': 0.0})
    config.prior.update({'name': 'latent', 'dtype': 'bfloat16'})
  elif variant:
    raise ConfigError(f'configs/sample.py has no variant {variant!r}; it has sd15, sd21, sdxl and '
                      'tiny.')
  return config



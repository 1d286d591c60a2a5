"""Text to a 3D asset that stands, with the embedded 32-pixel prior, on a laptop.

`embedded.py` adds the view to the prompt of each view ("side view") and is the README's demo;
`:plain` gives every view the same prompt and shows the Janus problem; `:tiny` runs every part in
seconds, for tests. The README has the expected results with their seeds and commands.
"""

from jax3dgen.recipes.distill import config as distill_config


def get_config(variant=''):
  config = distill_config.default_config()
  if variant == 'plain':
    config.view_prompts = False
  elif variant == 'tiny':
    config.train.steps = 30  # the first ones of the whole run, whose schedules these are:
    config.timestep.update({'min': (100, 0.6, 0.06, 900), 'max': (0, 0.96, 0.6, 1200)})
    config.regularizers.opaque = (600, 0.0, 60.0, 1000)
    config.field.levels = 4
    config.field.table_log2 = 12
    config.field.finest = 32
    config.render.n_samples = 16
    config.log.every = 5
    config.log.preview_every = 15
    config.log.preview_size = 32
    config.checkpoint.every = 10
    config.result.mesh_resolution = 32
    config.result.turntable_size = 64
    config.result.turntable_frames = 12
    config.result.drop_seconds = 1.0
  elif variant:
    raise ValueError(f'configs/embedded.py has no variant {variant!r}; it has plain and tiny.')
  return config

"""DSO on the embedded image-to-3D generator: DPO, or `:dro` and `:sft`.

`:trellis` has the settings of DSO's code for TRELLIS-image-large (set generator.weights; on one
accelerator its batch of 48 pairs is the whole of DSO's four). `:tiny` runs every phase in seconds,
for tests. docs/results/dso.md has the expected results.
"""

from jax3dgen.recipes.preference import config as preference


def get_config(variant=''):
  config = preference.default_config()
  if variant == 'dro':
    config.loss.name, config.optim.rate, config.train.steps = 'dro', 1e-4, 240
    config.select.by = 'validation'
  elif variant == 'sft':
    config.loss.name = 'sft'
  elif variant == 'trellis':
    config.lora.rank, config.pairs.of = 64, 'object'
    config.optim.rate, config.optim.warmup = 5e-6, 2000
    config.train.batch, config.train.steps = 48, 8000
    config.sampler.guidance, config.images.size = 7.5, 518
    config.label.cut, config.label.smallest, config.label.timestep = 0.0, 0.0, 1e-3
    config.label.inertia = 'mujoco_legacy'
    config.checkpoint.every = 1000
  elif variant == 'tiny':
    config.batch = 16
    config.images.pool, config.images.validation, config.images.test = 8, 4, 4
    config.sampler.steps = 4
    config.label.seconds = 2.0
    config.evaluation.samples, config.evaluation.points, config.select.points = 1, 300, 300
    config.train.batch, config.train.steps, config.log.every = 8, 6, 2
    config.checkpoint.every, config.select.by = 3, 'validation'
  elif variant:
    raise ValueError(f'configs/dso.py has no variant {variant!r}; it has dro, sft, trellis and '
                     'tiny.')
  return config

"""DSO on the embedded image-to-3D generator: DPO, or `:dro` and `:sft`.

`:trellis` has the settings of DSO's code for TRELLIS-image-large (set generator.weights and
images.folder; on one accelerator its batch of 48 pairs is the whole of DSO's four). `:tiny` runs
every phase in seconds, for tests. The settings of the embedded generator are this project's own.

field | source (DSO's code; its paper) | here | why not
loss.name | DPO or DRO | 'dpo' | `--config.loss.name=dro`
loss.beta | 500.0 | = |
loss.reduction | a mean over entries; Diffusion-DPO has a sum | 'mean' |
loss.negative | 1.0 | = |
loss.noise | 'fresh' | = |
pairs.of | winner, loser and condition of one object | 'object' | the paper has one image
pairs.by | 'label' | = |
lora.rank | 64 | = |
lora.scale | alpha / r = 2.0 | 2.0 |
optim.rate | 5e-06 | = |
optim.warmup | 2000.0 | = |
optim.decay | 0.01 | = |
optim.clip | 1.0 | = |
train.batch | 48 pairs: 6, twice, on 4 devices | 48 | in one step
train.steps | 8000 for DPO, 4000 for DRO | 8000 |
pool.samples | 4 | = |
sampler.steps | 12 | = |
sampler.guidance | 7.5 | = |
sampler.rescale_t | 3.0 in the published pipeline.json, unverified | 3.0 |
sampler.interval | (0.5, 1.0) in the published pipeline.json, unverified | (0.5, 1.0) |
label.seconds | 10.0 | = |
label.timestep | 0.001 | = |
label.threshold_deg | 20.0 | = |
label.inertia | MuJoCo's legacy inertia of the mesh | 'mujoco_legacy' | `exact` is the true solid's
label.normalize | none in training, by the vertex mean in evaluation | 'none' | `dso` is the latter
label.cut | 0.0 | = |
label.smallest | 0.0 | = |
mesh | stage 2's decoder, 95 % of the faces removed | of the 64^3 occupancy | stage 1 alone
levels | t ~ LogitNormal(1, 1), cast to bfloat16 | in float32 | the cast moves t by up to .002
images | six renders of Objaverse objects each | `config.images.folder` | no data set is fetched
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

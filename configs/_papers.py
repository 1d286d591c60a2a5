"""Base settings of the configs of single objectives, for Stable Diffusion 2.1.

Values that a paper does not give are those of its code, or of threestudio (TS) where the paper used
it. Fields cover the unit ball; steps, rates and weights are per step of one view. Every config has
the variants `embedded`, the same objective with the settings of the embedded prior, and `tiny`, for
tests. The settings of an objective itself are LATENT of its file in jax3dgen/distill.

The docstring of each config has a table: a field of the config, its value in the source, its value
here (`=`: the same), and a reason where they differ; docs/fidelity.md collects them. Schedules are
written in steps there; here they are shares of the run (`train.steps`). Of all configs:

field | source (TS, DreamFusion) | here | why not
prior.name | SD 2.1-base, float16 | 'latent' | weights and dtype are the user's
latent | a sample of the encoder's posterior | its mean | the sample adds a small noise to that of
  x_t
guidance | eps_y + s (eps_y - eps_null) in SDS and JSD without Perp-Neg | eps_null + s (...) | TS's
  100 is 101 here
field.levels | 16 | = |
field.table_log2 | 19 | = |
field.base | 16 | = |
field.finest | 4096 | = |
field.hidden | 64 | = | one network for density and colour, TS has two
field.blob | 'magic3d' | = |
radius | 2 (SDS, SDI, JSD), 1 (others) | 1 | fields cover the unit ball
render.n_samples | 512 with an occupancy grid | 64 | and 32 by importance, as R-PD: fixed shapes
camera.elevation_deg | (-10, 45) | = |
camera.by_area | 0.5 | = |
camera.distance | (1.5, 2.0) | = |
camera.fovy_deg | (40, 70) | = |
camera jitter | position, centre, up | none | 0 in most of TS's configs
timestep.min | 0.02 | = |
timestep.max | 0.98 | = |
field.background | 'harmonics' | = | drawn behind training views alone
render.random_background | 0.0 | = |
optim.rates | grid and networks 0.01, background 0.001 | (('background', 0.001), ('', 0.01)) |
optim.eps | 1e-15 | = |
"""

from configs import _embedded
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.distill import config as distill_config

default_config = distill_config.default_config
# Adam's learning rates. `geometry: lr` of threestudio is that of the grid and of the networks
# behind it; ProlificDreamer's, and what is built on it, have a tenth for the networks.
RATES = (('background', 1e-3), ('', 1e-2))
SPLIT_RATES = (('grid', 1e-2), ('', 1e-3))
# The losses of SDI and JSD are means over the latent [64, 64, 4]. Here an objective's gradient is
# that of a sum, as in all others, and the weights of the regularisers are as much larger: Adam does
# not depend on a common factor, and bounds and metrics of g keep their meaning.
LATENT_SIZE = 64 * 64 * 4


def start(name, variant=''):
  """The unlocked config of the objective `name`: for Stable Diffusion 2.1, `embedded` or `tiny`."""
  c = default_config()
  c.unlock()
  c.distill.name = name
  c.view_prompts = name != 'usd'  # RecDreamer's prompts have no view phrases
  if variant == 'tiny':
    shrink(c)
  elif variant == '':
    stable_diffusion(c)
  elif variant == 'embedded':
    _embedded.settings(c, name)
  else:
    raise ConfigError(f'configs/{name}.py has no variant {variant!r}; it has embedded and tiny.')
  return c


def model(name, variant=''):
  """The unlocked config of configs/NAME.py, a base for any objective with a published model:
  threestudio's scene of DreamFusion, or `tiny`. Each objective has its own settings for Stable
  Diffusion unless they are set."""
  if variant not in ('', 'tiny'):
    raise ConfigError(f'configs/{name}.py has no variant {variant!r}; it has tiny.')
  c = start('sds', variant)
  c.prior.name = 'latent'
  if not variant:
    dreamfusion_light(c)
    c.prior.dtype = 'bfloat16'
  return c


def shrink(c):
  """The settings of a run that takes seconds, for tests."""
  c.train.steps = 10  # the first ones of a run of 1,200, whose schedules these are:
  c.timestep.update({'min': (100, 0.6, 0.06, 900), 'max': (0, 0.96, 0.6, 1200)})
  c.regularizers.opaque = (600, 0.0, 60.0, 1000)
  c.field.update({'levels': 4, 'table_log2': 12, 'finest': 32})
  c.render.n_samples = 16
  c.log.update({'every': 5, 'preview_every': 5, 'preview_size': 32})
  c.checkpoint.every = 5
  c.result.update({'mesh_resolution': 32, 'turntable_size': 64, 'turntable_frames': 4,
                   'drop_seconds': 0.5})


def stable_diffusion(c):
  """threestudio's settings of DreamFusion for Stable Diffusion, the base of all objectives."""
  c.prompt = 'a zombie bust, head sculpture'
  c.prior.name = 'latent'
  c.field.update({'levels': 16, 'table_log2': 19, 'base': 16, 'finest': 4096, 'hidden': 64,
                  'blob': 'magic3d', 'background': 'harmonics'})
  c.camera.update({'elevation_deg': (-10.0, 45.0), 'by_area': 0.5, 'distance': (1.5, 2.0),
                   'fovy_deg': (40.0, 70.0)})
  c.timestep.update({'min': 0.02, 'max': 0.98})
  c.render.update({'size': 64, 'n_samples': 64, 'n_importance': 32})
  c.regularizers.update({'opaque': 0.0, 'sparsity': 1.0})
  c.optim.update({'rates': RATES, 'eps': 1e-15})
  c.train.update({'steps': 10_000, 'batch': 1})
  c.log.update({'every': 100, 'preview_every': 1000, 'preview_size': 128})
  c.checkpoint.every = 1000
  c.result.update({'mesh_resolution': 256, 'turntable_size': 512})


def dreamfusion_light(c):
  """DreamFusion's shading by a point light, with its penalty on normals that face backward."""
  c.render.normals = 'analytic'
  c.shading.update({'probability': 0.75, 'albedo_steps': 0.2})
  c.regularizers.orientation = (0, 10.0, 1000.0, 0.5)
  progressive_bands(c)


def progressive_bands(c):
  """threestudio's grid whose finer levels come in one by one, from 8 of 16."""
  c.field.bands = (0.2, 0.5, 1.0, 0.6)


def prolificdreamer(c):
  """The first stage of ProlificDreamer in threestudio; SDS-Bridge and ESD use the same."""
  c.camera.distance = (1.0, 1.5)
  c.guide.front_deg = 30.0
  c.timestep.max = (0.2, 0.98, 0.5, 0.2)
  c.render.update({'size': ((0, 64), (0.2, 512)), 'random_background': 0.5})
  c.regularizers.update({'opaque': (0.4, 0.0, 1000.0, 0.4), 'sparsity': 10.0})
  c.optim.update({'rates': SPLIT_RATES, 'decay': 0.01})
  c.train.steps = 25_000


def critic(c):
  """The optimiser of ProlificDreamer's critic."""
  c.optim.update({'fit_rate': 1e-4, 'fit_decay': 0.01, 'fit_warmup': 500})


def falling_level(c):
  """The schedule of SDI and JSD: one noise level per step, decreasing linearly to 0.25."""
  highest = 0.96 if c.prior.name == 'embedded' else 0.98
  c.timestep.min = c.timestep.max = (0, highest, 0.25, 1.0)


def sdi_surfaces(c):
  """The guidance, render and regulariser settings of SDI, which JSD uses too."""
  c.guide.name = 'perp_neg'
  c.render.update({'size': 512, 'normals': 'analytic'})
  c.shading.update({'probability': 0.3, 'textureless': 0.75, 'albedo_steps': 0.1})
  weight = float(LATENT_SIZE)
  c.regularizers.update({
      'orientation': 0.1 * weight, 'sparsity': (0, 0.15 * weight, 0.0, 0.3),
      'opaque': 0.1 * weight, 'z_variance': weight, 'convexity': (0, weight, 0.1 * weight, 0.4)})

"""Base settings of the configs of single objectives: the papers', for Stable Diffusion 2.1.

Values that a paper does not give are those of its code, or of threestudio where the paper used it.
Fields cover the unit ball; steps, rates and weights are per step of one view. Every config has the
variants `embedded`, the same objective with the settings of the embedded prior, and `tiny`, for
tests.
"""

from configs import _embedded
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.distill import config as distill_config

default_config = distill_config.default_config
# Adam: the learning rate of the grid is ten times that of the network behind it.
RATES = (('grid', 1e-2), ('', 1e-3))


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
  """The unlocked config of configs/NAME.py, a base for any objective with a published model: SDS
  with threestudio's settings, or `tiny`."""
  if variant not in ('', 'tiny'):
    raise ConfigError(f'configs/{name}.py has no variant {variant!r}; it has tiny.')
  c = start('sds', variant)
  c.prior.name = 'latent'
  if not variant:
    dreamfusion_light(c)
    c.prior.dtype = 'bfloat16'
    c.distill.update({'guidance': 100.0, 'weighting': 'sds', 'clip': False})
  return c


def shrink(c):
  """The settings of a run that takes seconds, for tests."""
  c.train.steps = 10
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
                  'blob': 'magic3d'})
  c.camera.update({'elevation_deg': (-10.0, 45.0), 'by_area': 0.5, 'distance': (1.5, 2.0),
                   'fovy_deg': (40.0, 70.0)})
  c.timestep.update({'min': 0.02, 'max': 0.98})
  c.render.update({'size': 64, 'n_samples': 64, 'n_importance': 32, 'random_background': 0.5})
  c.regularizers.update({'opaque': 0.0, 'sparsity': 1.0})
  c.optim.update({'rates': RATES, 'eps': 1e-15})
  c.train.update({'steps': 10_000, 'batch': 1})
  c.log.update({'every': 100, 'preview_every': 1000, 'preview_size': 128})
  c.checkpoint.every = 1000
  c.result.update({'mesh_resolution': 256, 'turntable_size': 512})


def dreamfusion_light(c):
  """DreamFusion's shading by a point light, with its penalty on normals that face backward."""
  c.render.normals = 'analytic'
  c.shading.update({'probability': 0.75, 'albedo_steps': 2000})
  c.regularizers.orientation = (1000, 10.0, 1000.0, 5000)
  c.field.bands = (2000, 0.5, 1.0, 6000)  # from the 8 coarsest of 16 levels


def prolificdreamer(c):
  """The first stage of ProlificDreamer in threestudio; SDS-Bridge and ESD use the same."""
  c.camera.distance = (1.0, 1.5)
  c.timestep.max = (5000, 0.98, 0.5, 5001)
  c.render.size = ((0, 64), (5000, 512))
  c.regularizers.update({'opaque': (10_000, 0.0, 1000.0, 10_001), 'sparsity': 10.0})
  c.train.steps = 25_000


def falling_level(c):
  """The schedule of SDI and JSD: one noise level per step, decreasing linearly to 0.25."""
  highest = 0.96 if c.prior.name == 'embedded' else 0.98
  c.timestep.min = c.timestep.max = (0, highest, 0.25, c.train.steps)


def sdi_surfaces(c):
  """The render and regulariser settings of SDI, which JSD uses too."""
  c.distill.clip = False
  c.render.update({'size': 512, 'normals': 'analytic'})
  c.shading.update({'probability': 0.3, 'textureless': 0.75, 'albedo_steps': 1000})
  c.regularizers.update({'orientation': 0.1, 'sparsity': (0, 0.15, 0.0, 3000), 'opaque': 0.1,
                         'z_variance': 1.0})

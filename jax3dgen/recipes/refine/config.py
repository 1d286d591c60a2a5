"""Settings of the three stages: field, geometry, texture.

The sections of a distillation run (`recipes/distill/config`) are those of the field. `geometry` and
`texture` have their own of SECTIONS; the others hold for all stages.
"""

from ml_collections import ConfigDict

from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.distill import config as distill_config

FIELD, GEOMETRY, TEXTURE = STAGES = ('field', 'geometry', 'texture')
SECTIONS = ('distill', 'guide', 'camera', 'timestep', 'render', 'optim', 'train')
SHOWN = ('normals', 'colors')  # what the prior sees of a surface


def default_config():
  """A locked ConfigDict for the embedded prior; an unknown field raises."""
  return with_stages(distill_config.default_config())


def with_stages(c):
  """The config of a distillation run with the settings of the other stages, locked."""
  c = c.copy_and_resolve_references()
  c.unlock()
  c.stages = STAGES  # which are run, in this order
  c.geometry, c.texture = _sections(), _sections()
  g = c.geometry
  g.mesh = ConfigDict()
  g.mesh.resolution = 64  # of the tetrahedral grid, even
  g.mesh.shown = 'normals'  # what the prior sees: normals, or the field's colours on the surface
  g.mesh.level = 0.0  # density at whose level set it begins; 0: that with the field's silhouettes
  g.mesh.slack = 2.0  # room for a larger surface, in units of the first one
  g.mesh.normal_consistency = distill_config.schedule(0.0)  # weight of bends between faces
  g.mesh.laplacian = distill_config.schedule(0.0)  # weight of distances from neighbours' means
  c.lock()
  for section in (c, g, c.texture):
    section.distill.unlock()  # the objective brings its own fields
  return c


def _sections():
  plain = distill_config.default_config()
  return ConfigDict({name: plain[name] for name in SECTIONS})


def check(config):
  """ConfigError for the first field with an invalid value that `of_stage` leaves unchecked."""
  count = len(config.stages)
  if not count or tuple(config.stages) != STAGES[:count]:
    raise ConfigError(f'config.stages={tuple(config.stages)!r} must be the first one, two or three '
                      f'of {", ".join(STAGES)}.')
  mesh = config.geometry.mesh
  if mesh.shown not in SHOWN:
    raise ConfigError(f'config.geometry.mesh.shown={mesh.shown!r}: there are {", ".join(SHOWN)}.')
  if mesh.slack < 1 or mesh.level < 0:
    raise ConfigError('config.geometry.mesh: slack must be 1 or more, level 0 or more.')
  for stage in STAGES[1:count]:
    if config[stage].train.particles != 1 or config.train.particles != 1:
      raise ConfigError('Stages after the field are for one particle: config.train.particles and '
                        f'config.{stage}.train.particles must be 1.')


def of_stage(config, stage):
  """The complete config of a distillation run for one of STAGES, with the section `mesh` of the
  geometry."""
  c = config.copy_and_resolve_references()
  sections = {name: c[name] for name in STAGES[1:]}
  with c.unlocked():
    del c.geometry, c.texture, c.stages
    if stage != FIELD:
      for name in SECTIONS:
        c[name] = sections[stage][name]
      c.render.latent_steps = 0
    if stage == GEOMETRY:
      c.mesh = sections[stage].mesh
  return distill_config.complete(c)

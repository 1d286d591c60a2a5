"""The stages of geometry and texture of ProlificDreamer and RecDreamer, after their field's.

Values are those of the papers and of ProlificDreamer's code where a paper gives none.
"""

from configs import _papers
from jax3dgen.recipes.refine import config as refine

default_config = refine.default_config


def of(c, texture, variant):
  """The config of a field with its further stages: texture names the objective of the last one."""
  c = refine.with_stages(c)
  {'': stable_diffusion, 'embedded': embedded, 'tiny': tiny}[variant](c, texture)
  return c


def stable_diffusion(c, texture):
  """The papers' settings: SDS on normal maps with guidance 100, then `texture` with 7.5."""
  for stage, steps in ((c.geometry, 15_000), (c.texture, 30_000)):
    for name in ('guide', 'camera'):
      stage[name].update(c[name])
    stage.timestep.update({'min': 0.02, 'max': 0.5})
    stage.render.size = 512
    stage.optim.eps = 1e-15
    stage.train.update({'steps': steps, 'batch': 1})
  c.geometry.distill.update({'name': 'sds', 'guidance': 100.0})
  c.geometry.optim.rates = (('', 5e-3),)
  c.geometry.mesh.update({'resolution': 256, 'level': 2.5, 'normal_consistency': 5000.0,
                          'laplacian': 0.5})
  c.texture.distill.update({'name': texture, 'guidance': 7.5})
  c.texture.optim.rates = _papers.SPLIT_RATES
  c.texture.optim.update({'fit_rate': 1e-4, 'fit_decay': 0.01, 'fit_warmup': 500})
  c.result.texture = 1024


def embedded(c, texture):
  """For the embedded prior, which knows colours and no normal maps."""
  for stage, steps in ((c.geometry, 150), (c.texture, 200)):
    stage.timestep.update({'min': 0.02, 'max': 0.4})
    stage.render.size = 64
    stage.train.update({'steps': steps, 'batch': 4})
  c.geometry.distill.name = 'sds'
  c.geometry.optim.rates = (('offsets', 1e-2), ('sdf', 2e-3))
  c.geometry.mesh.update({'shown': 'colors', 'normal_consistency': 300.0, 'laplacian': 3000.0})
  c.texture.distill.name = texture
  c.texture.optim.rates = (('', 2e-3),)
  c.result.update({'texture': 1024, 'faces': 20_000})


def tiny(c, texture):
  """Stages of seconds, for tests."""
  embedded(c, texture)
  for stage in (c.geometry, c.texture):
    stage.render.size = 32
    stage.train.update({'steps': 4, 'batch': 2})
  c.geometry.mesh.resolution = 16
  c.field.blob = 'magic3d'  # in so few steps, no object comes out of fog
  c.result.update({'texture': 64, 'faces': 0})

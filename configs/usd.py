"""Uniform score distillation, the first stage of RecDreamer.

`usd.py` is for Stable Diffusion 2.1, with the prompt of the authors' script; it samples its pose
templates from the prior, and `--prompts=recdreamer` runs the paper's 22 prompts (docs/methods.md).
`:embedded` is for the embedded prior, `:tiny` for tests.

field | source (paper, else its code) | here | why not
distill.guidance | 7.5 | = |
distill.weighting | 'sds' | = |
distill.rect_scale | 1, Eq. 13; the code multiplies by the latent's size | 1.0 |
distill.n_ema | 100 | = |
distill.intervals | 10 | = |
distill.temperature | 0.05; the code has 0.01 | 0.05 |
distill.tweedie | eps(x_t, y); the code has the guided one | 'conditional' |
distill.feed | the clean estimate | 'estimate' |
distill.form | as printed; the code has another | 'matched' | as printed its orientation is near
  chance
distill.noise | one x_t; the code draws a second | 'shared' |
distill.clamp_space | pixels; the code has the latent | 'prior' | the other is `image`, one more
  backward pass
distill.decode | 1 | 0.5 | a quarter of the decoder's memory; the classifier needs no more
distill.templates | samples of the prior chosen by hand | 'prior' | chosen by the classifier
classifier | DINOv2 ViT-S/14 | a small network | `distill.features` names a DINOv2
auxiliary | both phrases (code: one, for 4 prompts) | 'from side view, from back view' |
view_prompts | False | = |
timestep.rule | back and forth; not selected in the code | 'back_and_forth' |
timestep.phases | 2 | = |
train.steps | 15000 | = |
field.finest | 2048 | = |
field.interpolation | 'smoothstep' | = |
field.hidden | one linear layer, 32 to 4 | 64 | the field's own network
field.density_noise | 1 | 1.0 |
field.background | 'frequency' | = | without biases
render.random_background | 0, from 2000 on 0.5 | (2000, 0.0, 0.5, 2000) |
render.size | 256 | = |
camera.distance | (1.0, 1.5) | = |
camera.elevation_deg | (-30, 90) | (-30.0, 90.0) | uniform in angle for half of the views
camera.by_area | 0.5 | = | the other half is even on the upper hemisphere, in the code nearly so
camera.by_area_deg | (0, 90) | (0.0, 90.0) |
camera handedness | mirrored images | right-handed | left and right of the classifier depend on it
regularizers.entropy | 100 | 100.0 |
regularizers.sparsity | 0 | 0.0 |
regularizers.opaque | 0 | 0.0 |
regularizers.orientation | 0.01, without effect on albedo views | 0.0 |
optim.rates | grid 0.01, networks and background 0.001 | (('grid', 0.01), ('', 0.001)) |
optim.decay | 0 | 0.0 |
optim.fit_decay | 0.01 | = |
optim.fit_warmup | 500 | = |
"""

from configs import _papers
from jax3dgen.data import prompts


def get_config(variant=''):
  config = _papers.start('usd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    _papers.critic(config)
    listed = {listed.name: listed for listed in prompts.recdreamer()}['bear']
    config.prompt, config.auxiliary = listed.prompt, listed.auxiliary
    config.timestep.update({'max': 0.98, 'rule': 'back_and_forth', 'phases': 2})
    config.camera.update({'elevation_deg': (-30.0, 90.0), 'by_area_deg': (0.0, 90.0)})
    config.render.update({'size': 256, 'random_background': (2 / 15, 0.0, 0.5, 2 / 15)})
    config.field.update({'finest': 2048, 'interpolation': 'smoothstep', 'density_noise': 1.0,
                         'background': 'frequency'})
    config.regularizers.update({'opaque': 0.0, 'sparsity': 0.0, 'entropy': 100.0})
    config.optim.decay = 0.0
    config.train.steps = 15_000
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""Entropic score distillation with the settings of ProlificDreamer.

`esd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests. The
scene is that of `vsd.py`.

field | source (ESD's README) | here | why not
distill.guidance | 7.5 | = |
distill.weighting | 'sds' | = |
distill.entropy | 0.5 (1 - its scale of the LoRA) | 0.5 |
guide.front_deg | 30 | 30.0 |
train.steps | 25000 | = |
optim.decay | 0.01 | = |
optim.fit_decay | 0.01 | = |
optim.fit_warmup | 500 (R-PD) | 500 |
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('esd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    _papers.critic(config)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""Variational score distillation, the first stage of ProlificDreamer, in threestudio.

`vsd.py` is for Stable Diffusion 2.1, `:embedded` for the embedded prior, `:tiny` for tests.

field | source (TS prolificdreamer, R-PD) | here | why not
distill.guidance | 7.5 | = |
distill.weighting | 'sds' | = |
distill.critic_rank | 4 | = |
distill.critic_target | 'v' | = | the critic is the prior's own network, R-PD's that of SD 2.1
distill.camera_dropout | 0.1 | = |
guide.front_deg | 30 | 30.0 |
guide.overhead_deg | 60 | 60.0 |
train.steps | 25000 | = |
camera.distance | (1.0, 1.5) | = |
timestep.max | [5000, 0.98, 0.5, 5001] | (5000, 0.98, 0.5, 5000) | the same switch
render.size | 64, from 5000 on 512 | ((0, 64), (5000, 512)) |
render.random_background | 0.5 | = |
regularizers.opaque | [10000, 0, 1000, 10001] | (10000, 0.0, 1000.0, 10000) | the same switch
regularizers.sparsity | 10.0 | = |
optim.rates | grid 0.01, networks and background 0.001 | (('grid', 0.01), ('', 0.001)) |
optim.decay | 0.01 | = | TS has AdamW, R-PD Adam
optim.fit_rate | 1e-4 | 0.0001 |
optim.fit_decay | 0.01 | = |
optim.fit_warmup | 500 (R-PD) | 500 | none in TS
critic's Adam | betas 0.9, 0.999 | = |
"""

from configs import _papers


def get_config(variant=''):
  config = _papers.start('vsd', variant)
  if not variant:
    _papers.prolificdreamer(config)
    _papers.critic(config)
  config.lock()
  config.distill.unlock()  # the objective adds its own fields
  return config

"""MV-D3PO on the embedded multi-view prior: preferences by the true PSNR, the bound of any metric.

`:contrastive` takes MV-D3PO-C's metric with negatives of the base itself, `:matching` MV-D3PO-M's
matches, `:sft` is the supervised baseline with as many steps, `:paper` has the paper's settings
where it gives them; `:tiny` runs every phase in seconds, for tests. `:sd21` and `:sdxl` have the
paper's settings for a published U-Net, whose folder in the layout of diffusers is prior.weights:
preferences by the true PSNR, LoRA of the attention layers, two pairs a step. `base` then is
configs/nets/multiview_latent.py, without which the published weights know nothing of views;
objects.folder names one's own objects (`data/view_folder`). The other settings are this project's
own.

field | source (MV-D3PO; D3PO's code) | `:paper` | why not
rollout.source | noise on the reference's embedding | 'reference' |
rollout.scales | (0, .1, .3, .5, .8) | = |
rollout.samples | 5 | = |
objects.pool | 240 datapoints | 240 | read as references
loss.beta | not given; 0.1 | 0.1 |
loss.reduction | 'mean' | = |
loss.clip | not in Eq. 2; 0.1 | 0.0 |
loss.first | the last 40 denoising steps, of an unknown number | 10 |
sampler.steps | not given | 50 | so that the last 40 leave some out
loss.simple | 1.0 | = |
train.steps | 1800 | = |
lora.rank | attention layers as a whole | 0 | those of the denoiser, which are the reference's too
"""

from configs.nets import consistency as metric
from configs.nets import multiview as base
from configs.nets import multiview_latent as published
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.multiview import config as multiview


def get_config(variant=''):
  config = multiview.default_config()
  if variant == 'contrastive':
    config.score.by = 'metric'
  elif variant == 'matching':
    config.score.by = 'matches'
  elif variant == 'sft':
    config.loss.name = 'sft'
  elif variant == 'paper':
    config.score.by = 'metric'
    config.objects.pool = 240
    paper(config)
  elif variant in ('sd21', 'sdxl'):
    paper(config)
    of_published(config)
  elif variant == 'tiny':
    tiny(config)
  elif variant:
    raise ConfigError(f'configs/multiview_d3po.py has no variant {variant!r}; it has contrastive, '
                      'matching, sft, paper, sd21, sdxl and tiny.')
  return config


def paper(config):
  """The settings that the paper gives for rollouts, loss and tuning."""
  config.rollout.source = 'reference'
  config.sampler.steps = 50
  config.loss.update({'beta': 0.1, 'first': 10, 'last': 49, 'simple': 1.0})
  config.train.steps = 1800


def of_published(config):
  """The settings for a published U-Net of full size."""
  with config.unlocked():
    config.base = published.get_config()
  config.base.train.steps = 0
  config.prior.update({'dtype': 'bfloat16', 'remat': True})
  config.batch = config.rollout.samples  # one reference at a time
  config.objects.update({'pool': 48, 'test': 40, 'size': 512})  # 240 datapoints as rollouts
  config.lora.update({'rank': 16, 'pattern': r'/attn[12]/to_(q|k|v|out_0)/kernel$'})
  config.optim.rate = 3e-5
  config.loss.fresh = config.train.batch = 2
  config.checkpoint.every = 200


def tiny(config):
  """The settings of a run of seconds with all phases."""
  config.batch = 8
  config.base.update(base.get_config('tiny'))
  config.metric.update(metric.get_config('tiny'))
  config.objects.update({'pool': 4, 'test': 4})
  config.sampler.steps = 4
  config.rollout.samples = 2
  config.score.by = 'metric'
  config.loss.update({'first': 1, 'last': 2, 'fresh': 4})
  config.train.update({'steps': 4, 'batch': 4})
  config.checkpoint.every = 2

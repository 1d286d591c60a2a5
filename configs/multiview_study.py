"""Tunings of the embedded multi-view prior by several preferences, and controls, by several seeds.

`sft`: supervised training with as many steps on the true views of the same objects. `oracle`:
preferences by the true PSNR, the bound of any metric. `matching`: MV-D3PO-M's matches.
`contrastive (pre)`: MV-D3PO-C's metric, its negatives views of the base. `contrastive, pair head`:
the shipped metric, ours. `oracle, advantages` and `mean of samples` are ours too.
`:noise` has the oracle's pairs by the noise on the reference, as the paper has them, alone or
beside the sampler's; `:data` varies the number of references. These have one seed. `:tiny` is for
tests.
"""

from configs import multiview_d3po
from jax3dgen.core.errors import ConfigError
from jax3dgen.recipes.multiview import study

PAPER_METRIC = {f'metric.{name}': value for name, value in {
    'net.head': 'concat', 'negatives.generated': 1.0, 'negatives.corrupted': 0.0,
    'negatives.object': 0.0, 'negatives.view': 0.0, 'train.steps': 300}.items()}
SFT = {'loss.name': 'sft'}
MAIN = {
    'sft': SFT, 'oracle': {}, 'oracle, advantages': {'loss.name': 'advantage'},
    'matching': {'score.by': 'matches'}, 'contrastive (pre)': {'score.by': 'metric'} | PAPER_METRIC,
    'contrastive, pair head': {'score.by': 'metric'}, 'mean of samples': {'loss.name': 'mean'}}
SHOWN = ('sft', 'contrastive (pre)', 'oracle')
NOISE = {
    'oracle, noise on the reference': {'rollout.source': 'reference'},
    'oracle, both noises': {'rollout.source': 'both'},
    'oracle, both noises, pairs of one level': {'rollout.source': 'both',
                                                'score.pairs': 'equal_scale',
                                                'rollout.scales': (0.0, 0.0, 0.3, 0.3, 0.3)}}
DATA = {f'{name}, {count} references': changes | {'objects.pool': count}
        for count in (60, 120, 240) for name, changes in {'sft': SFT, 'oracle': {}}.items()}


def get_config(variant=''):
  config = study.default_config()
  config.table = 'docs/results/multiview.jsonl'
  config.loop.evaluation.samples = 2
  runs = {'': MAIN, 'noise': {'sft': SFT} | NOISE, 'data': DATA, 'tiny': {
      'sft': SFT, 'contrastive (pre)': MAIN['contrastive (pre)'] | {'metric.train.steps': 2}}}
  if variant not in runs:
    raise ConfigError(f'configs/multiview_study.py has no variant {variant!r}; it has noise, data '
                      'and tiny.')
  config.runs = tuple((name, tuple(changes.items())) for name, changes in runs[variant].items())
  if variant in ('noise', 'data'):
    config.seeds = 1
  else:
    config.judges = ('contrastive (pre)',)
    config.pictures = tuple(name for name in SHOWN if name in runs[variant])
  if variant == 'tiny':
    config.table = ''
    config.seeds = 1
    multiview_d3po.tiny(config.loop)
    config.loop.base.train.steps = config.loop.metric.train.steps = 0
  return config

"""Which measures of 3D consistency see what: heads, matches and trained metrics on known errors.

The results are in docs/results/multiview.md, from the table docs/results/consistency.jsonl. `:tiny`
runs every part in seconds, for tests.
"""

from jax3dgen.recipes.multiview import consistency_table


def get_config(variant=''):
  config = consistency_table.default_config()
  if variant == 'tiny':
    config.sample.steps = 2
    config.train.objects = 4
    config.test.objects = 4
    config.test.samples = 2
  elif variant:
    raise ValueError(f'configs/consistency.py has no variant {variant!r}; it has tiny.')
  return config

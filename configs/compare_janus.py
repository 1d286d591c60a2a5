"""The objectives on the embedded prior without view phrases: which of them leave how many faces.

`:phrases` gives each view its phrase, as Perp-Neg needs it. `:tiny` runs in seconds, for tests.
"""

from ml_collections import ConfigDict

from jax3dgen.train import distill_config

PROMPTS = ('a red bear', 'a blue penguin', 'a purple robot', 'a green rabbit')


def get_config(variant=''):
  config = distill_config.default_config()
  config.view_prompts = False
  config.unlock()
  config.compare = ConfigDict()
  config.compare.methods = ('sds', 'vsd', 'esd', 'sds_bridge', 'debiased_sds', 'jsd')  # by name
  config.compare.prompts = PROMPTS  # each is made by each method
  config.compare.seeds = 5  # of each method and prompt
  config.compare.first_seed = 0  # of them
  config.compare.cells = ''  # folder of finished cells; empty: cells below the workdir
  config.compare.keep_runs = False  # keep checkpoints, meshes and pages of the runs, too
  if variant == 'phrases':
    config.view_prompts = True
    config.compare.methods = ('sds', 'perp_neg', 'vsd', 'esd', 'sds_bridge', 'debiased_sds', 'jsd')
  elif variant == 'tiny':
    config.compare.update({'methods': ('csd',), 'prompts': ('a red bear',), 'seeds': 1})
    config.train.steps = 10
    config.field.update({'levels': 4, 'table_log2': 12, 'finest': 32})
    config.render.n_samples = 16
    config.log.update({'every': 5, 'preview_every': 5, 'preview_size': 32})
    config.checkpoint.every = 5
    config.result.update({'mesh_resolution': 32, 'turntable_size': 64, 'turntable_frames': 4,
                          'drop_seconds': 0.5})
  elif variant:
    raise ValueError(f'configs/compare_janus.py has no variant {variant!r}; it has phrases and '
                     'tiny.')
  config.lock()
  config.distill.unlock()  # each objective brings its own fields
  return config

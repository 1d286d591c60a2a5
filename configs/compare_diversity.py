"""Diversity of the assets of one prompt from one initial field: JSD's Table 2, embedded prior.

The initial field is the same in all runs (`init_seed`); the noise depends on the run's seed. Each
view has its phrase, so that whole figurines are compared. Finished runs are rows of
docs/results/diversity.jsonl. `experiments.evaluate` with `configs/evaluate.py:cells` computes IV,
IQ and cosines from the strips of views in WORKDIR/cells; with `--config.compare.table=` all runs
are repeated, and their strips are there. `:tiny` is for tests.
"""

from configs import compare_janus


def get_config(variant=''):
  config = compare_janus.get_config(variant)
  with config.unlocked():
    config.view_prompts = True
    config.init_seed = 0
    if variant != 'tiny':
      config.compare.update({
          'table': 'docs/results/diversity.jsonl', 'study': 'diversity', 'seeds': 5,
          'prompts': config.compare.prompts[:1],
          'methods': ('sds', 'vsd', 'esd', 'sdi_annealed', 'jsd_annealed',
                      'jsd_annealed_without_minority', 'jsd_annealed_shared_noise', 'jsd_code',
                      'jsd_clipped', 'jsd_without_minority', 'jsd_shared_noise',
                      'jsd_targets_clipped')})
  config.distill.unlock()  # each objective adds its own fields
  return config

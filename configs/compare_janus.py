"""Faces by objective on the embedded prior without view phrases: docs/results/janus.md.

The settings are those of configs/NAME.py:embedded; what a method changes stands in
`_compare_methods`. Finished runs are rows of docs/results/janus.jsonl. `:core` and `:others` are
further methods with fewer seeds, `:forms` one bear of each further form of SDI and JSD, all of the
study `plain`. The other variants are studies of their own. `:sweep` and `:ablations` change one
setting of rectified SDS and of USD, `:particles` optimises four fields at once, all three on the
robot, for which SDS and VSD are not reliable. `:phrases` adds to each view its phrase, which
Perp-Neg needs, and a second one that is wrong for three of four views. `:without_sparsity`, on
further seeds, leaves out the sparsity term, with which USD fails on the rabbits. `:conditional`, on
the same seeds, has the clean estimate of the paper, and averages of renders, started after nine
runs of it had been examined. `:light_sparsity`, on seeds of its own, is that rectifier with a third
of the sparsity weight, started after four runs of it had been examined (rabbit and robot, seeds 20
and 21). `:paper` are USD and SDS with the rectifier in the form of RecDreamer's paper, with five
seeds of the first table; `:validation` are the runs by which configs/usd.py:embedded was chosen,
and `:held_out` compares that with SDS on a colour and seeds that no other runs have; all three were
fixed before their first run. `:tiny` runs in seconds, for tests.
"""

from configs import _compare_methods as methods
from configs import _embedded
from jax3dgen.recipes.compare import config as compare_config

ROBOT = {'sweep': methods.SWEEP, 'ablations': methods.ABLATIONS, 'particles': methods.PARTICLES}
PROMPTS = ('a red bear', 'a blue penguin', 'a purple robot', 'a green rabbit')


def get_config(variant=''):
  config = compare_config.default_config()
  _embedded.settings(config, 'sds')
  config.view_prompts = False
  config.result.update({'mesh_resolution': 64, 'turntable_size': 64, 'turntable_frames': 1,
                        'flat_cut': 0.0})
  changes = tuple((method, tuple(change.items())) for method, change in methods.ALL.items())
  config.compare.update({'prompts': PROMPTS, 'changes': changes, 'study': 'plain',
                         'table': 'docs/results/janus.jsonl'})
  if variant == 'core':
    config.compare.update({'seeds': 5, 'methods': (
        'debiased_sds', 'esd', 'sds_bridge', 'jsd_annealed')})
  elif variant == 'others':
    config.compare.update({'prompts': PROMPTS[:2], 'seeds': 3, 'methods': (
        'sjc', 'csd', 'nfsd', 'ism', 'sdi', 'cfd', 'hifa', 'hifa_annealing')})
  elif variant == 'forms':
    config.compare.update({'prompts': PROMPTS[:1], 'seeds': 1, 'methods': (
        'sdi_annealed', 'jsd_annealed_without_minority', 'jsd_annealed_shared_noise', 'jsd_code',
        'jsd', 'jsd_guidance_4', 'jsd_clipped', 'jsd_targets')})
  elif variant == 'phrases':
    config.view_prompts = True
    config.auxiliary = 'front view'  # added to each view's phrase
    config.compare.update({'study': 'phrases', 'seeds': 5, 'methods': (
        'sds', 'sds_rectified', 'perp_neg', 'debiased_sds', 'vsd', 'esd', 'sds_bridge',
        'jsd_annealed', 'usd')})
  elif variant == 'without_sparsity':
    config.regularizers.sparsity = 0.0
    config.compare.update({'study': 'without_sparsity', 'first_seed': 10, 'seeds': 5})
  elif variant == 'conditional':
    config.compare.update({'study': 'conditional', 'first_seed': 10, 'seeds': 5,
                           'methods': ('usd_conditional', 'sds_rectified_conditional')})
  elif variant == 'light_sparsity':
    config.regularizers.sparsity = (200, 0.0, 20.0, 667)
    config.compare.update({'study': 'light_sparsity', 'first_seed': 30,
                           'methods': ('usd_conditional', 'vsd', 'sds')})
  elif variant == 'paper':
    config.compare.update({'seeds': 5, 'methods': tuple(methods.PAPER_FORM)})
  elif variant == 'validation':
    config.compare.update({
        'study': 'validation', 'first_seed': 100, 'seeds': 4,  # two more after 6 of 6 for both
        'prompts': ('a gray bear', 'a gray penguin', 'a gray robot'),
        'methods': ('usd', 'usd_paper')})
  elif variant == 'held_out':
    config.compare.update({
        'study': 'held_out', 'first_seed': 200, 'seeds': 2,
        'prompts': ('a yellow bear', 'a yellow penguin', 'a yellow robot'),
        'methods': ('sds', 'usd_paper')})
  elif variant in ROBOT:
    config.compare.update({'study': variant, 'seeds': 3, 'prompts': ('a purple robot',),
                           'methods': tuple(ROBOT[variant])})
  elif variant == 'tiny':
    config.compare.update({'table': '', 'methods': ('csd',), 'prompts': PROMPTS[:1], 'seeds': 1})
    config.train.steps = 10
    config.field.update({'levels': 4, 'table_log2': 12, 'finest': 32})
    config.render.n_samples = 16
    config.log.update({'every': 5, 'preview_every': 5, 'preview_size': 32})
    config.checkpoint.every = 5
    config.result.update({'mesh_resolution': 32, 'drop_seconds': 0.5})
  elif variant:
    raise ValueError(f'configs/compare_janus.py has no variant {variant!r}; it has core, others, '
                     'forms, sweep, ablations, particles, phrases, without_sparsity, '
                     'conditional, light_sparsity, paper, validation, held_out and tiny.')
  config.lock()
  config.distill.unlock()  # each objective adds its own fields
  return config

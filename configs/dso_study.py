"""DSO and its rivals on the embedded image-to-3D generator, by several seeds.

All parts share the base, the test images and, per seed, the noise. `:main`, the default, are the
tuning runs, the best of several samples and deformation, three seeds each; `:rivals` are flat cuts
(DSO D.2), guidance by the margin, and the base's labels under MuJoCo's legacy inertia. `:steps`
follows DRO and DPO beyond the step that is chosen (DSO Table 8, Figure 6b), `:pool` varies the
number of images (Figure 6b), `:variants` has terms and noises that DSO has not, `:transfer` tunes
without some kinds of object, `:tilts` puts base, DPO and DRO to tilts in three engines (Table 6);
these have one seed. `:tiny` is for tests.
"""

from jax3dgen.core.errors import ConfigError
from jax3dgen.data import objects
from jax3dgen.recipes.preference import study

SFT = {'loss.name': 'sft'}
DRO = {'loss.name': 'dro', 'optim.rate': 1e-4, 'train.steps': 240, 'select.by': 'validation'}
ALL_STEPS = {'train.steps': 480, 'select.by': 'last', 'optim.warmup': 24.0}
VARIANTS = {'tracked': {'loss.noise': 'tracked'}, 'growth': {'loss.growth': 1.0},
            'anchor': {'loss.anchor': 0.5}}
LARGEST = objects.EXTENT * objects.RESOLUTION  # voxels of the largest extent of an object
CUTS = {f'flat cut {share:g}': {'label.cut': share * LARGEST} for share in (.05, .1, .15, .2)}
GUIDED = {f'guidance {scale:g}': {'sampler.margin': scale} for scale in (0.02, 0.05, 0.1)}
LEGACY = {'legacy inertia': {'label.inertia': 'mujoco_legacy'}}
KEPT = ('figurine', 'stack', 'animal', 'goblet')  # kinds of the pool of `:transfer`


def named(runs):
  """{name: changes} as the field of a config."""
  return tuple((name, tuple(changes.items())) for name, changes in runs.items())


def get_config(variant=''):
  config = study.default_config()
  config.table = 'docs/results/dso.jsonl'
  config.dso.evaluation.samples = 2
  config.pictures = tuple(range(0, 216, 27))
  config.seeds = 1
  if variant in ('', 'main'):
    config.runs = named({'sft': SFT, 'dro': DRO, 'dpo twice': {'rounds': 2}})
    config.best_of = (2, 4)
    config.stabilize = True
    config.seeds = 3
  elif variant == 'rivals':
    config.evaluations = named(CUTS | GUIDED | LEGACY)
  elif variant == 'steps':
    config.runs = named({'dro to 480': DRO | ALL_STEPS,
                         'dpo to 600': {'train.steps': 600, 'optim.warmup': 30.0}})
    config.steps = (20, 40, 80, 120, 160, 240, 360, 480)
  elif variant == 'pool':
    config.runs = named({f'dpo, {count} images': {'images.pool': count} for count in (32, 65, 130)})
  elif variant == 'variants':
    config.runs = named({f'dro {name}': DRO | ALL_STEPS | change
                         for name, change in VARIANTS.items()} | {
        'dpo tracked': {'loss.noise': 'tracked'}})
    config.steps = (80, 160, 240)
  elif variant == 'transfer':
    config.runs = named({f'{name}, four kinds': change | {'images.pool_kinds': KEPT}
                         for name, change in {'dpo': {}, 'dro': DRO}.items()})
  elif variant == 'tilts':
    config.runs = named({'dpo twice': {'rounds': 2}, 'dro': DRO})
    config.engines = ('native', 'mjx', 'brax_positional')
  elif variant == 'tiny':
    config.table = ''
    config.runs = named({'dro': {'loss.name': 'dro'}})
    config.evaluations = named({'flat cut': {'label.cut': 4.0}, 'guidance': {'sampler.margin': .1}})
    config.best_of, config.steps, config.engines = (2,), (3,), ('native',)
    config.stabilize = True
    config.tilts, config.max_tilts = 2, (0.02,)
    config.pictures = (0, 1)
    c = config.dso
    c.batch = 16
    c.images.update({'pool': 6, 'validation': 2, 'test': 3})
    c.sampler.steps = 4
    c.label.seconds = 2.0
    c.evaluation.update({'samples': 1, 'points': 300})
    c.select.points = 300
    c.train.update({'batch': 8, 'steps': 6})
    c.checkpoint.every = 3
  else:
    raise ConfigError(f'configs/dso_study.py has no variant {variant!r}; it has main, rivals, '
                      'steps, pool, variants, transfer, tilts and tiny.')
  return config

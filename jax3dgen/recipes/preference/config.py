"""Settings of the loop generate > label > tune > evaluate."""

from ml_collections import ConfigDict

from jax3dgen.core import settings
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import objects
from jax3dgen.generator import loading
from jax3dgen.physics import normalize, sweep

LOSSES = ('dro', 'dpo', 'sft')
CHOICES = {
    'loss.name': LOSSES, 'loss.reduction': ('mean', 'sum'), 'loss.noise': ('fresh', 'tracked'),
    'pairs.of': ('image', 'object'), 'pairs.by': ('label', 'margin'),
    'select.by': ('last', 'validation'), 'label.engine': sweep.ENGINES,
    'label.inertia': ('exact', 'mujoco_legacy'), 'label.normalize': normalize.MODES}
AT_LEAST = {
    'rounds': 1, 'images.pool': 1, 'images.validation': 1, 'images.test': 1, 'images.seed': 0,
    'images.size': 8, 'sampler.steps': 1, 'sampler.guidance': 0, 'sampler.margin': 0,
    'pool.samples': 1, 'evaluation.samples': 1, 'evaluation.points': 10, 'select.points': 10,
    'batch': 1, 'label.cut': 0, 'label.smallest': 0, 'label.timestep': 0,
    'loss.beta': 0, 'loss.anchor': 0, 'loss.growth': 0, 'lora.rank': 1,
    'lora.scale': 0, 'optim.rate': 0, 'optim.decay': 0, 'optim.warmup': 0, 'train.steps': 1,
    'train.batch': 1, 'train.max_skipped': 1, 'checkpoint.every': 1, 'checkpoint.keep': 1,
    'log.every': 0, 'select.volume': 0, 'select.chamfer': 0, 'watch.volume': 1}
POSITIVE = ('sampler.rescale_t', 'label.seconds', 'label.threshold_deg', 'optim.clip')


def default_config():
  """A locked ConfigDict: DPO on the embedded generator; an unknown field raises."""
  c = ConfigDict()
  c.seed = 0  # of the adapters, the pairs and the noise of tuning
  c.rounds = 1  # of generate, label and tune; a later pool is sampled from the tuned model
  c.batch = 64  # samples that are generated and judged at a time, over all devices together

  c.generator = loading.default_config()

  c.images = ConfigDict()  # of objects that stand; the three sets share none
  c.images.folder = ''  # of pictures, in pool, validation and test; '': embedded objects
  c.images.pool = 260  # whose samples are tuned on
  c.images.validation = 60  # that select the step, with one sample each
  c.images.test = 108  # that evaluate
  c.images.seed = 0  # of the objects
  c.images.pool_kinds = ()  # kinds of the pool's objects (data/object_kinds); (): all
  c.images.size = 32  # pixels per side of a picture, cropped to its object

  c.sampler = ConfigDict()
  c.sampler.steps = 12  # Euler steps
  c.sampler.rescale_t = 3.0  # of the time grid
  c.sampler.guidance = 1.0  # w of (1 + w) v(image) - w v(no image)
  c.sampler.interval = (0.5, 1.0)  # noise levels at which it applies
  c.sampler.margin = 0.0  # step of guidance by the margin of the decoded estimate; 0: none

  c.pool = ConfigDict()
  c.pool.samples = 4  # per image
  c.pool.seed = 0  # of their noise; each round has its own

  c.label = ConfigDict()
  c.label.engine = 'native'  # native, mjx, penalty, rest, brax_positional or brax_spring
  c.label.seconds = 10.0  # simulated
  c.label.timestep = 4e-3  # seconds; 0: the engine's own
  c.label.threshold_deg = 20.0  # a sample that rotates by less than this stands
  c.label.cut = 0.5  # height of the flat cut under the object, in voxels
  c.label.smallest = 0.03  # parts below this share of the largest are dropped; the rest is one body
  c.label.inertia = 'exact'  # of the true solid; mujoco_legacy: DSO's
  c.label.normalize = 'none'  # of the mesh; dso: that of DSO's evaluation

  c.pairs = ConfigDict()
  c.pairs.of = 'image'  # image: winner, loser and condition are of one; object: of one object
  c.pairs.by = 'label'  # label: stable against unstable; margin: the better half against the worse
  c.pairs.gap_deg = 3.0  # smallest difference of the margins of an image or object, by margin

  c.loss = ConfigDict()
  c.loss.name = 'dpo'  # dro, dpo or sft
  c.loss.beta = 500.0  # of DPO
  c.loss.reduction = 'mean'  # over a latent's entries in DPO: mean (DSO's code) or sum
  c.loss.negative = 1.0  # weight of the losers in DRO
  c.loss.noise = 'fresh'  # fresh, or tracked: the noise that a sample was generated from
  c.loss.anchor = 0.0  # weight of the squared distance from the reference's velocity
  c.loss.growth = 0.0  # weight of the growth of the velocity's mean square over the reference's

  c.lora = ConfigDict()
  c.lora.rank = 16  # of the adapters
  c.lora.scale = 2.0  # alpha / rank
  c.lora.pattern = '(self_attn|cross_attn)/(to_q|to_kv|to_out|to_qkv)/kernel$'  # adapted kernels

  c.optim = ConfigDict()
  c.optim.rate = 3e-4  # AdamW's learning rate after the warm-up
  c.optim.warmup = 0.1  # steps of rising learning rate; below 1 their share of train.steps
  c.optim.decay = 0.01  # weight decay
  c.optim.clip = 1.0  # bound of the global gradient norm

  c.train = ConfigDict()
  c.train.steps = 300  # of tuning, in each round
  c.train.batch = 16  # pairs per step, over all devices together
  c.train.max_skipped = 20  # stop after this many non-finite gradients in a row

  c.select = ConfigDict()  # which step of a round is its result
  c.select.by = 'last'  # last, or validation: the last step within the two bounds
  c.select.volume = 1.15  # mean volume over the base's
  c.select.chamfer = 1.05  # mean Chamfer distance over the base's
  c.select.points = 2000  # of each surface for the latter

  c.evaluation = ConfigDict()
  c.evaluation.samples = 2  # per test image, of the same noise for every model
  c.evaluation.seed = 1000  # of that noise
  c.evaluation.points = 10_000  # of each surface for Chamfer distance and F-score

  c.watch = ConfigDict()
  c.watch.volume = 2.0  # a sample larger than this times the base's of the same noise has exploded

  c.log = ConfigDict()
  c.log.every = 20  # steps between rows of metrics.csv

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 20  # steps between checkpoints, whose adapters are kept for the selection
  c.checkpoint.keep = 2  # newest checkpoints that are kept whole
  return c.lock()


def check(config):
  """ConfigError for the first field with an invalid value."""
  settings.check(config, CHOICES, AT_LEAST, POSITIVE)
  for kind in config.images.pool_kinds:
    if kind not in objects.KINDS:
      raise ConfigError(f'config.images.pool_kinds has {kind!r}: the kinds are '
                        f'{", ".join(objects.KINDS)}.')
  if not 0 <= config.loss.negative <= 1:
    raise ConfigError(f'config.loss.negative={config.loss.negative} is not between 0 and 1.')

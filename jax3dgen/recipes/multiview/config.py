"""Settings of the loop base > rollout > metric > score > tune > evaluate."""

from ml_collections import ConfigDict

from jax3dgen.core import settings
from jax3dgen.core.errors import ConfigError
from jax3dgen.feedback import rollout_pairs
from jax3dgen.prior import multiview_loading
from jax3dgen.recipes.nets import consistency
from jax3dgen.recipes.nets import multiview as base_net

LOSSES = ('d3po', 'advantage', 'mean', 'sft')
SCORES = ('psnr', 'metric', 'matches')
CHOICES = {
    'loss.name': LOSSES, 'loss.reduction': ('mean', 'sum'), 'loss.weights': ('equal', 'even'),
    'score.by': SCORES, 'score.pairs': ('all', 'extreme', 'equal_scale'),
    'rollout.source': rollout_pairs.SOURCES}
AT_LEAST = {
    'base.train.steps': 0, 'metric.train.steps': 0, 'batch': 1, 'objects.pool': 1,
    'objects.test': 1, 'objects.first': 0, 'objects.size': 8, 'prior.size': 0, 'prior.tile': 0,
    'sampler.steps': 2, 'sampler.guidance': 0, 'rollout.samples': 2, 'rollout.seed': 0,
    'score.gap': 0, 'loss.beta': 0, 'loss.clip': 0, 'loss.first': 0, 'loss.simple': 0,
    'loss.fresh': 0, 'lora.rank': 0, 'lora.scale': 0, 'optim.rate': 0, 'optim.warmup': 0,
    'optim.decay': 0, 'train.steps': 1, 'train.batch': 1, 'train.max_skipped': 1,
    'evaluation.samples': 1, 'evaluation.seed': 0, 'log.every': 0, 'checkpoint.every': 1,
    'checkpoint.keep': 1}
POSITIVE = ('sampler.eta', 'optim.clip')


def default_config():
  """A locked ConfigDict: D3PO by the true PSNR on the embedded prior; an unknown field raises."""
  c = ConfigDict()
  c.seed = 0  # of the adapters, the pairs and the noise of tuning
  c.batch = 40  # rollouts, and samples of the evaluation, at a time, over all devices together

  c.prior = multiview_loading.default_config()

  c.base = base_net.default_config()  # supervised training of the base in this run
  c.base.train.steps = 0  # of it; 0: the base is prior.weights as they are

  c.objects = ConfigDict()  # figurines of data/multiview; the two sets share none
  c.objects.folder = ''  # one's own objects (`data/view_folder`); '': figurines
  c.objects.size = 256  # pixels per side at which those are read and views are compared
  c.objects.pool = 200  # references whose rollouts are tuned on
  c.objects.test = 200  # that evaluate
  c.objects.first = 20_000  # number of the first object of each; below, they trained nets

  c.sampler = ConfigDict()  # of the rollouts and of the evaluation
  c.sampler.steps = 20  # DDIM steps
  c.sampler.eta = 1.0  # share of the noise of an ancestral step; above 0, or there is no density
  c.sampler.guidance = 1.0  # 1: none

  c.rollout = ConfigDict()
  c.rollout.source = 'sampler'  # what rollouts differ by: reference, sampler or both
  c.rollout.samples = 5  # of each reference
  c.rollout.scales = rollout_pairs.SCALES  # of the noise on the reference, one after the other
  c.rollout.seed = 0  # of their noise

  c.metric = consistency.default_config()  # training of the metric, with views of the base
  c.metric.train.steps = 0  # of it; 0: the metric is metric.weights as they are

  c.score = ConfigDict()
  c.score.by = 'psnr'  # psnr, to the true views; metric; matches, of features with the reference
  c.score.features = ''  # of matches: a folder of `formats/features`, DINOv2's too; '': shipped
  c.score.pairs = 'all'  # all pairs of a reference; extreme: the best and the worst; equal_scale
  c.score.loftr = ''  # LoFTR's published weights for the matches; '': by the shipped features
  c.score.gap = 0.0  # scores that differ by no more are a tie

  c.loss = ConfigDict()
  c.loss.name = 'd3po'  # d3po; advantage: all rollouts at once; mean: their mean as target; sft
  c.loss.beta = 1000.0  # of D3PO, on log-probabilities as `reduction` has them
  c.loss.reduction = 'mean'  # over the entries of five views: mean (D3PO's code) or sum
  c.loss.clip = 0.0  # bound of the probability ratios' distance from 1; 0: none
  c.loss.first = 3  # step from which on steps are tuned
  c.loss.last = 14  # the last of them
  c.loss.weights = 'equal'  # of the steps: equal, or even: their log-ratios have one scale
  c.loss.simple = 100.0  # weight of L_simple-MV
  c.loss.fresh = 4  # objects per step of L_simple-MV, over all devices together

  c.lora = ConfigDict()
  c.lora.rank = 0  # of the adapters; 0: whole kernels
  c.lora.scale = 1.0  # alpha / rank
  c.lora.pattern = '(self|cross)/(query|key|value|out)/kernel$'  # adapted kernels

  c.optim = ConfigDict()
  c.optim.rate = 2e-4  # AdamW's learning rate after the warm-up
  c.optim.warmup = 0.1  # steps of rising learning rate; below 1 their share of train.steps
  c.optim.decay = 0.0  # weight decay
  c.optim.clip = 1.0  # bound of the global gradient norm

  c.train = ConfigDict()
  c.train.steps = 200  # of tuning
  c.train.batch = 8  # pairs per step, over all devices together
  c.train.max_skipped = 20  # stop after this many non-finite gradients in a row

  c.evaluation = ConfigDict()
  c.evaluation.samples = 1  # per test object, of the same noise for every model
  c.evaluation.seed = 1000  # of that noise
  c.evaluation.lpips = ''  # LPIPS's weights; '': a distance of the shipped features instead

  c.log = ConfigDict()
  c.log.every = 20  # steps between rows of metrics.csv

  c.checkpoint = ConfigDict()
  c.checkpoint.every = 50  # steps between checkpoints
  c.checkpoint.keep = 2  # newest checkpoints that are kept
  return c.lock()


def check(config):
  """ConfigError for the first field with an invalid value."""
  settings.check(config, CHOICES, AT_LEAST, POSITIVE)
  if not config.loss.first <= config.loss.last < config.sampler.steps:
    raise ConfigError(f'config.loss.first={config.loss.first} and config.loss.last='
                      f'{config.loss.last} must be steps, in this order, of the '
                      f'{config.sampler.steps} of the sampler (0 to {config.sampler.steps - 1}).')
  if config.score.pairs == 'equal_scale' and config.rollout.source == 'sampler':
    raise ConfigError("config.score.pairs='equal_scale' needs rollouts with noise on the "
                      "reference: config.rollout.source is 'reference' or 'both'.")

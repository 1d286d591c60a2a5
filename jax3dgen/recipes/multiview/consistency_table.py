"""Which measures of consistency see what: all heads, by corruption, and against the true PSNR.

`run(config, workdir)` is what `python -m experiments.consistency` calls. The linear heads are
fitted in closed form on frozen features, for each sort of negatives; trained metrics are read.

Axes: N objects, R samples of each, V views, C channels of a class token.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict
import numpy as np

from jax3dgen.core import files, rng, tree
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import multiview as world
from jax3dgen.data import view_corruptions as corruptions
from jax3dgen.export import markdown
from jax3dgen.formats import features
from jax3dgen.metrics import intervals
from jax3dgen.metrics import multiview as metrics
from jax3dgen.perception import consistency, matching
from jax3dgen.prior import multiview_loading
from jax3dgen.recipes.nets import consistency_checks as checks
from jax3dgen.recipes.nets import multiview as multiview_net
from jax3dgen.recipes.nets import ship

RIDGE = {'bilinear': 0.3}  # penalty per pair of `consistency.fit` where it is not .001
AGREEMENT, WIDE = 'order of PSNR', 'order of PSNR, over 1 dB apart'
CHANGES = ('hands swapped', 'hand color', 'color', 'hat', 'proportions')


def default_config():
  """A locked ConfigDict; the comment behind a field is its help text."""
  c = ConfigDict()
  c.seed = 0  # of the changes of objects
  c.features = ''  # a folder of the features of the linear heads and of the matches; '': shipped
  c.metrics = ('',)  # folders of trained metrics; '': the shipped one

  c.prior = multiview_loading.default_config()

  c.sample = multiview_net.default_config().sample  # how they are sampled

  c.train = ConfigDict()
  c.train.objects = 200  # objects of the split 'train' on which the linear heads are fitted
  c.train.first = 20000  # the number of the first of them

  c.test = ConfigDict()
  c.test.objects = 100  # objects of the split 'validation'
  c.test.samples = 4  # generated sets of views of each
  return c.lock()


def run(config, workdir, command=''):
  """Writes consistency.jsonl and consistency.md into `workdir`; returns the rows."""
  cfg, workdir = FrozenConfigDict(config), pathlib.Path(workdir)
  if cfg.test.samples < 2 or min(cfg.train.objects, cfg.test.objects) < 2:
    raise ConfigError('config.test.samples and the numbers of objects must be 2 or more.')
  apply, params = features.load(cfg.features or None)
  encode = functools.partial(_encode, jax.jit(apply), params)
  train = checks.draw('train', cfg.train.objects, cfg.train.first)
  held = checks.draw('validation', cfg.test.objects)
  prior = multiview_loading.load(cfg.prior)[:2]
  negatives = _views(prior, train, cfg, 1, workdir)[:, 0]
  samples = _views(prior, held, cfg, cfg.test.samples, workdir) / np.float32(255)
  heads = _heads(encode, train, negatives / np.float32(255), cfg.seed)
  cases = checks.corrupted(held) | {'generated': (samples[:, 0], checks.away(held))}
  rows = []
  for (head, sort), score in _scorers(heads, encode, cfg).items():
    names = {'head': head, 'negatives': sort}
    rows += [names | {'case': case} | figures for case, figures in checks.figures(
        lambda views, score=score: score(held, views), held, cases).items()]
    value = np.stack([_total(score(held, samples[:, r]), held)
                      for r in range(cfg.test.samples)], 1)
    rows += [names | row for row in _agreement(value, _likeness(samples, held)[0])]
  rows += [{'head': 'SSIM to the truth', 'negatives': ''} | row
           for row in _agreement(*_likeness(samples, held)[::-1])]
  files.write_lines(workdir / 'consistency.jsonl', rows)
  with files.replacing(workdir / 'consistency.md') as beside:
    beside.write_text(page(rows, command), encoding='utf-8')
  return rows


def _views(prior, held, cfg, samples, workdir):
  """`checks.generated` of held Views, kept in the workdir."""
  record = ['views', cfg.sample.to_dict(), samples, tree.digest(prior[1]), tree.digest(held.views)]
  return checks.stored(workdir, record, lambda: {'views': checks.generated(
      *prior, held, cfg.sample, samples)})['views']


def _encode(apply, params, images):
  """Features of images [N, V, S, S, 3], with the axes [N, V, ...], on the host."""
  rows = np.asarray(images).reshape(-1, *images.shape[2:])
  flat = ship.in_chunks(lambda chunk: apply(params, chunk), rows, 100)
  return jax.tree.map(lambda x: x.reshape(*images.shape[:2], *x.shape[1:]), flat)


def _heads(encode, train, negatives, seed):
  """{(head, negatives): Linear} fitted on the class tokens of train Views."""
  away = checks.away(train)
  true = encode(train.views).cls
  y = np.repeat(world.at_slot(true, train.slot)[:, None], true.shape[1], 1)
  other = checks.render(corruptions.mixed(rng.stream(jax.random.key(seed), 'changes'),
                                          train.objects, CHANGES))
  sorts = {'generated': (encode(negatives).cls, away),
           'other objects': (np.roll(true, 1, 0), away),
           'changed objects': (encode(other).cls, away & np.asarray(
               corruptions.affected(train.views, other)))}
  fits = {}
  for head in consistency.HEADS[:-1]:
    pairs = lambda x, keep, head=head: np.asarray(consistency.joined(head, y[keep], x[keep]))
    for name, (wrong, keep) in sorts.items():
      fits[head, name] = consistency.fit(pairs(true, away), pairs(wrong, keep),
                                         RIDGE.get(head, 1e-3))
  return fits


def _scorers(fits, encode, cfg):
  """{(head, negatives): score (Views, views [N, V, S, S, 3]) -> [N, V]} of everything compared."""
  cache = {}

  def once(images):
    key = tree.digest(images)
    if key not in cache:
      cache[key] = encode(images)
    return cache[key]

  features_of = lambda held, views: (once(held.reference[:, None]), once(views))

  def linear(head, fit):
    def score(held, views):
      y, x = features_of(held, views)
      pairs = consistency.joined(head, np.broadcast_to(y.cls, x.cls.shape), x.cls)
      return np.asarray(fit(pairs))
    return score

  def matches(held, views):
    flat = lambda x: x.patches.reshape(*x.patches.shape[:2], -1, x.patches.shape[-1])
    y, x = features_of(held, views)
    return np.asarray(_count(flat(y), flat(x)), np.float32)
  scorers = {key: linear(key[0], fit) for key, fit in fits.items()}
  scorers['cosine', 'none'] = linear('cosine', lambda pairs: pairs[..., 0])
  scorers['matches', 'none'] = matches
  for folder in cfg.metrics:
    metric, weights = consistency.load(folder)
    name = folder or 'shipped'
    scorers['trained', name] = lambda held, views, m=metric, w=weights: checks.scores(
        m, w, held, views)
  return scorers


_count = jax.jit(matching.count)


def _total(values, held):
  return np.asarray(consistency.total(jnp.asarray(values), jnp.asarray(held.slot)))


def _likeness(samples, held):
  """(PSNR, SSIM), both [N, R], of samples [N, R, V, S, S, 3]: means over the other views."""
  repeat = lambda x: np.repeat(x, samples.shape[1], 0)
  values = metrics.likeness(samples.reshape(-1, *samples.shape[2:]), repeat(held.views),
                            repeat(held.slot))
  return tuple(x.reshape(samples.shape[:2]) for x in values)


def _agreement(value, psnr):
  """Rows: the share of the pairs of samples of an object that `value` [N, R] orders like `psnr`.

  Ties of `value` are left out. 95 % intervals by the bootstrap over objects.
  """
  i, j = np.triu_indices(value.shape[1], 1)
  ours, theirs = value[:, i] - value[:, j], psnr[:, i] - psnr[:, j]
  rows = []
  for name, least in ((AGREEMENT, 0.0), (WIDE, 1.0)):
    object_, pair = np.nonzero((ours != 0) & (np.abs(theirs) > least))
    if not len(object_):
      continue
    equal = (np.sign(ours) == np.sign(theirs))[object_, pair]
    share, low, high = intervals.bootstrap_mean(equal, object_)
    rows.append({'case': name, 'auc': share, 'low': low, 'high': high, 'count': len(equal)})
  return rows


def page(rows, command=''):
  """Markdown of the rows: a line for each head and sort of negatives, a column for each case."""
  cases = list(dict.fromkeys(row['case'] for row in rows))
  value = {(row['head'], row['negatives'], row['case']): row for row in rows}

  def cell(*key):
    row = value.get(key)
    return f'{row["auc"]:.3f} +- {0.5 * (row["high"] - row["low"]):.3f}' if row else ''
  lines = [[head, sort, *(cell(head, sort, case) for case in cases)]
           for head, sort in dict.fromkeys((row['head'], row['negatives']) for row in rows)]
  text = markdown.table(['head', 'negatives', *cases], lines)
  return '\n'.join([f'`{command}`', '', *text] if command else text) + '\n'

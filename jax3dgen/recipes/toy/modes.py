"""Mode coverage: which modes of a Gaussian mixture each objective reaches from a broad start.

The prompt is four of eight Gaussians on a circle, unequally likely; the empty prompt is all eight
and a broad component in the middle, which stands for flawed renders: the negative prompt is that
component alone, the source prompt the prompt with some of it.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.distill import base, rectifier
from jax3dgen.export import markdown
from jax3dgen.metrics import intervals
from jax3dgen.prior import gaussian
from jax3dgen.recipes.toy import flow as toy_flow

COUNT, RADIUS, STD, BROAD = 8, 4.0, 0.3, 2.0
WEIGHTS = (0.4, 0.0, 0.3, 0.0, 0.2, 0.0, 0.1, 0.0)  # of the modes under the prompt
NAMES = ('sds', 'sjc', 'csd', 'nfsd', 'ism', 'sdi', 'hifa', 'sds_bridge', 'jsd', 'jsd shared',
         'cfd', 'sds rectified', 'esd exact', 'vsd exact', 'usd exact')


def eight_gaussians():
  """(Prior, params, Prompt): the mixture, and its weights under each use of the prompt."""
  angle = 2 * np.pi * np.arange(COUNT) / COUNT
  means = np.concatenate([RADIUS * np.stack([np.cos(angle), np.sin(angle)], -1), [[0.0, 0.0]]])
  prior, params = gaussian.mixture(means, [STD] * COUNT + [BROAD], [1] * (COUNT + 1))
  row = lambda weights, flawed: jnp.array([(1 - flawed) * w for w in weights] + [flawed])
  even = (1 / COUNT,) * COUNT
  return prior, params, toy_flow.prompt(row(WEIGHTS, 0.0), row(even, 0.2), row(even, 1.0),
                                        row(WEIGHTS, 0.2))


def objective(name, guidance, steps, prior):
  """(Distillation, its config) by the name in the table; None is the objective's own guidance."""
  changes = {'clip': False, 'weighting': 'uniform', 'cell': 1 / toy_flow.PLACES}
  changes |= {'minority_noise': 'shared'} if name == 'jsd shared' else {}
  changes |= {'switch': steps // 2} if name == 'sds_bridge' else {}
  kind = name.split()[0]
  if name.endswith(' exact'):
    entropy = {'esd': 0.5, 'vsd': 1.0, 'usd': 1.0}[kind]
    distillation = toy_flow.variational(toy_flow.particle_critic(prior), entropy)
    fields = {'guidance': 4.0}
  else:
    distillation, fields = base.load(kind)
  if name in ('sds rectified', 'usd exact'):
    def classify(params, x0, t, cfg):  # over the prompt's modes; the level softens it
      log_p = jnp.stack([gaussian.log_density(prior, params, x0, jnp.full(len(x0), 0.3),
                                              jnp.full(len(x0), k)) for k in (0, 2, 4, 6)], -1)
      return jax.nn.softmax(log_p)
    distillation = rectifier.rectified(distillation, classify)
    fields = fields | rectifier.DEFAULTS | {
        'n_ema': 2000, 'rect_scale': 10.0, 'tweedie': 'guided', 'feed': 'render'}
  if guidance is not None:
    changes |= {'guidance': guidance}
    changes |= {'inversion_guidance': -guidance} if name == 'sdi' else {}
  return distillation, ConfigDict(fields | {
      k: v for k, v in changes.items() if k in {*fields, 'guidance', 'weighting'}})


def flow(config, name, guidance):
  """Ends [N, 2] of one case."""
  c = config.modes
  prior, params, rows = eight_gaussians()
  distillation, cfg = objective(name, guidance, c.steps, prior)
  k_start, k_flow = jax.random.split(jax.random.key(config.seed))
  start = RADIUS * jax.random.normal(k_start, (c.particles, 2))
  levels = toy_flow.linear_levels(c.steps, c.high, c.low)
  return np.asarray(jax.jit(lambda key: toy_flow.descend(
      key, distillation, prior, params, rows, cfg, start, levels, c.rate).end)(k_flow))


def measure(ends):
  """Figures of the ends [N, 2]: hits (within 3 std of a mode of the prompt), the histogram of the
  hits, the modes with 1 % of them, its entropy and its divergence from the prompt's weights."""
  where, away = toy_flow.basins(ends, np.asarray(eight_gaussians()[1]['means'])[:COUNT])
  weights = np.array(WEIGHTS)
  hit = (away < 3 * STD) & (weights[where] > 0)
  histogram = toy_flow.shares(where[hit], COUNT) if hit.any() else np.full(COUNT, np.nan)
  hits = np.eye(COUNT)[where[hit]]
  divergence = lambda p: (p * np.log(np.where(p > 0, p / np.maximum(weights, 1e-300), 1.0))).sum(-1)
  return {
      'hits': (int(hit.sum()), len(hit)), 'hit_interval': intervals.wilson(int(hit.sum()),
                                                                           len(hit)),
      'histogram': histogram[weights > 0].tolist(), 'modes': int((histogram >= 0.01).sum()),
      'entropy': toy_flow.bootstrap(hits, toy_flow.entropy) if hit.any() else None,
      'divergence': toy_flow.bootstrap(hits, divergence) if hit.any() else None,
      'radius': float(np.median(np.linalg.norm(ends, axis=-1)))}


def study(config, report=print):
  """(rows, Figure): a dict for each objective and guidance."""
  rows, ends_of = [], {}
  for name in config.modes.objectives:
    for guidance in (None,) if name == 'csd' else (1.0, None):
      ends = flow(config, name, guidance)
      rows.append({'objective': name, 'guidance': guidance} | measure(ends))
      ends_of[name, guidance] = ends
  report(f'Modes: {len(rows)} cases.')
  return rows, picture(config.modes.objectives, ends_of)


def picture(names, ends):
  """Ends of the particles of each case: unguided above, with the objective's own guidance below."""
  means = np.asarray(eight_gaussians()[1]['means'])[:COUNT]
  figure = Figure((1.05 * len(names), 2.5), layout='constrained')
  axes = figure.subplots(2, len(names), squeeze=False)
  for j, name in enumerate(names):
    axes[0, j].set_title(name, fontsize=7)
    for i, guidance in enumerate((1.0, None)):
      a = axes[i, j]
      a.plot(*means.T, 'o', color='0.8', markersize=6, fillstyle='none')
      a.scatter(*means.T, s=250 * np.array(WEIGHTS), color='C0', alpha=0.25, linewidths=0)
      if (name, guidance) in ends:
        a.plot(*ends[name, guidance].T, '.', color='C3', markersize=1)
      a.set_xlim(-8, 8)
      a.set_ylim(-8, 8)
      a.set_aspect('equal')
      a.set_xticks([])
      a.set_yticks([])
  axes[0, 0].set_ylabel('guidance 1', fontsize=7)
  axes[1, 0].set_ylabel('its own', fontsize=7)
  return figure


def section(config, rows):
  """Lines of the section of the page."""
  c = config.modes
  body = []
  for r in rows:
    histogram = [', '.join(f'{p:.2f}' for p in r['histogram']),
                 toy_flow.interval_text(r['entropy']),
                 toy_flow.interval_text(r['divergence'])] if r['hits'][0] else ['none'] * 3
    body.append([r['objective'], 'its own' if r['guidance'] is None else f'{r["guidance"]:g}',
                 toy_flow.share_text(*r['hits'], *r['hit_interval']), r['modes'], *histogram,
                 f'{r["radius"]:.2f}'])
  return [
      f'Eight Gaussians on a circle (radius {RADIUS:g}, std {STD:g}); the prompt is every second '
      f'one with the weights {", ".join(f"{w:g}" for w in WEIGHTS if w)} (entropy '
      f'{toy_flow.entropy(WEIGHTS):.3f}), the empty prompt all of them with 20 % of a broad '
      f'component (std {BROAD:g}), which alone is the negative prompt. {c.particles} particles '
      f'from N(0, {RADIUS:g}^2), {c.steps} Adam steps at {c.rate:g}, t from {c.high:g} to '
      f'{c.low:g}, seed {config.seed}. Hits end within 3 std of a mode of the prompt (Wilson); the '
      'histogram, its entropy and its divergence from the weights (nats, 95 % bootstrap over '
      'particles) are of hits; a mode is reached by 1 % of them. "exact": with the exact critic of '
      'all particles.',
      '', *markdown.table(['objective', 'guidance', 'hits', 'modes', 'histogram', 'entropy',
                           'nats from the weights', 'median radius'], body)]

"""Which modes the objectives reach from a broad start: one mixture, every objective, one table.

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
from jax3dgen.metrics import intervals
from jax3dgen.prior import gaussian
from jax3dgen.recipes.toy import flow as toy_flow

COUNT, RADIUS, STD, BROAD = 8, 4.0, 0.3, 2.0
ASKED = (0.4, 0.0, 0.3, 0.0, 0.2, 0.0, 0.1, 0.0)
NAMES = ('sds', 'sjc', 'csd', 'nfsd', 'ism', 'sdi', 'hifa', 'sds_bridge', 'jsd', 'jsd shared',
         'cfd', 'sds rectified', 'esd exact', 'vsd exact', 'usd exact')


def world():
  """(Prior, params, Prompt): the mixture, and its weights under each use of the prompt."""
  angle = 2 * np.pi * np.arange(COUNT) / COUNT
  means = np.concatenate([RADIUS * np.stack([np.cos(angle), np.sin(angle)], -1), [[0.0, 0.0]]])
  prior, params = gaussian.mixture(means, [STD] * COUNT + [BROAD], [1] * (COUNT + 1))
  row = lambda weights, flawed: jnp.array([(1 - flawed) * w for w in weights] + [flawed])
  even = (1 / COUNT,) * COUNT
  return prior, params, toy_flow.prompt(row(ASKED, 0.0), row(even, 0.2), row(even, 1.0),
                                        row(ASKED, 0.2))


def objective(name, guidance, steps, prior):
  """(Distillation, its config) by the name in the table; None is the objective's own guidance."""
  own = {'clip': False, 'weighting': 'uniform', 'cell': 1 / toy_flow.PLACES}
  own |= {'minority_noise': 'shared'} if name == 'jsd shared' else {}
  own |= {'switch': steps // 2} if name == 'sds_bridge' else {}
  kind = name.split()[0]
  if name.endswith(' exact'):
    entropy = {'esd': 0.5, 'vsd': 1.0, 'usd': 1.0}[kind]
    made, fields = toy_flow.variational(toy_flow.cloud(prior), entropy), {'guidance': 4.0}
  else:
    made, fields = base.load(kind)
  if name in ('sds rectified', 'usd exact'):
    def classify(params, x0, t, cfg):  # which of the modes asked for; the level softens it
      log_p = jnp.stack([gaussian.log_density(prior, params, x0, jnp.full(len(x0), 0.3),
                                              jnp.full(len(x0), k)) for k in (0, 2, 4, 6)], -1)
      return jax.nn.softmax(log_p)
    made = rectifier.rectified(made, classify)
    fields = fields | rectifier.DEFAULTS | {
        'n_ema': 2000, 'rect_scale': 10.0, 'tweedie': 'guided'}
  if guidance is not None:
    own |= {'guidance': guidance} | ({'inversion_guidance': -guidance} if name == 'sdi' else {})
  return made, ConfigDict(fields | {k: v for k, v in own.items() if k in {*fields, 'guidance',
                                                                         'weighting'}})


def flow(config, name, guidance):
  """Ends [N, 2] of one case."""
  c = config.modes
  prior, params, rows = world()
  made, cfg = objective(name, guidance, c.steps, prior)
  k_start, k_flow = jax.random.split(jax.random.key(config.seed))
  start = RADIUS * jax.random.normal(k_start, (c.particles, 2))
  levels = toy_flow.falling(c.steps, c.high, c.low)
  return np.asarray(jax.jit(lambda key: toy_flow.descend(
      key, made, prior, params, rows, cfg, start, levels, c.rate).end)(k_flow))


def measure(ends):
  """How the ends [N, 2] share out: particles within 3 std of a mode that was asked for, the modes
  that have 1 % of them, the entropy and its divergence from the prompt's weights."""
  where, away = toy_flow.basins(ends, np.asarray(world()[1]['means'])[:COUNT])
  asked = np.array(ASKED)
  hit = (away < 3 * STD) & (asked[where] > 0)
  histogram = toy_flow.shares(where[hit], COUNT) if hit.any() else np.full(COUNT, np.nan)
  kept = np.eye(COUNT)[where[hit]]
  divergence = lambda p: (p * np.log(np.where(p > 0, p / np.maximum(asked, 1e-300), 1.0))).sum(-1)
  return {
      'hits': (int(hit.sum()), len(hit)), 'hit_interval': intervals.wilson(int(hit.sum()),
                                                                           len(hit)),
      'histogram': histogram[asked > 0].tolist(), 'modes': int((histogram >= 0.01).sum()),
      'entropy': toy_flow.bootstrap(kept, toy_flow.entropy) if hit.any() else None,
      'divergence': toy_flow.bootstrap(kept, divergence) if hit.any() else None,
      'radius': float(np.median(np.linalg.norm(ends, axis=-1)))}


def study(config, report=print):
  """(rows, Figure): a dict for each objective and guidance."""
  rows, drawn = [], {}
  for name in config.modes.objectives:
    for guidance in (None,) if name == 'csd' else (1.0, None):
      ends = flow(config, name, guidance)
      rows.append({'objective': name, 'guidance': guidance} | measure(ends))
      drawn[name, guidance] = ends
  report(f'Modes: {len(rows)} cases.')
  return rows, picture(config.modes.objectives, drawn)


def picture(names, drawn):
  """Where the particles end: unguided above, with the objective's own guidance below."""
  means = np.asarray(world()[1]['means'])[:COUNT]
  figure = Figure((1.05 * len(names), 2.5), layout='constrained')
  axes = figure.subplots(2, len(names), squeeze=False)
  for j, name in enumerate(names):
    axes[0, j].set_title(name, fontsize=7)
    for i, guidance in enumerate((1.0, None)):
      a = axes[i, j]
      a.plot(*means.T, 'o', color='0.8', markersize=6, fillstyle='none')
      a.scatter(*means.T, s=250 * np.array(ASKED), color='C0', alpha=0.25, linewidths=0)
      if (name, guidance) in drawn:
        a.plot(*drawn[name, guidance].T, '.', color='C3', markersize=1)
      a.set_xlim(-8, 8)
      a.set_ylim(-8, 8)
      a.set_aspect('equal')
      a.set_xticks([])
      a.set_yticks([])
  axes[0, 0].set_ylabel('guidance 1', fontsize=7)
  axes[1, 0].set_ylabel('its own', fontsize=7)
  return figure


def markdown(config, rows):
  """Lines of the section."""
  c = config.modes
  lines = [
      f'Eight Gaussians on a circle (radius {RADIUS:g}, std {STD:g}); the prompt is every second '
      f'one with the weights {", ".join(f"{w:g}" for w in ASKED if w)} (entropy '
      f'{toy_flow.entropy(ASKED):.3f}), the empty prompt all of them with 20 % of a broad '
      f'component (std {BROAD:g}), which alone is the negative prompt. {c.particles} particles '
      f'from N(0, {RADIUS:g}^2), {c.steps} Adam steps at {c.rate:g}, t from {c.high:g} to '
      f'{c.low:g}, seed {config.seed}. Hits end within 3 std of a mode of the prompt (Wilson); the '
      'histogram, its entropy and its divergence from the weights (nats, 95 % bootstrap over '
      'particles) are of hits; a mode is reached by 1 % of them. "exact": with the exact critic of '
      'all particles.',
      '', '| objective | guidance | hits | modes | histogram | entropy | nats from the weights | '
      'median radius |', '|---' * 8 + '|']
  for r in rows:
    low, high = r['hit_interval']
    told = (', '.join(f'{p:.2f}' for p in r['histogram']), toy_flow.written(r['entropy']),
            toy_flow.written(r['divergence'])) if r['hits'][0] else ('none',) * 3
    guidance = 'its own' if r['guidance'] is None else f'{r["guidance"]:g}'
    lines.append(
        f'| {r["objective"]} | {guidance} | {r["hits"][0] / r["hits"][1]:.1%} ({low:.1%} to '
        f'{high:.1%}) | {r["modes"]} | {" | ".join(told)} | {r["radius"]:.2f} |')
  return lines

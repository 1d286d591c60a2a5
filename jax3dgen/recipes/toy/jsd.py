"""Eight Gaussians under JSD: control variate and modes (Figures 3 and 4 of the JSD paper).

The paper's two claims: the prediction and its control variate are positively correlated, so that
their difference varies little; particles from one start end in more modes, on more different paths.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np
from scipy.spatial import distance

from jax3dgen.distill import base
from jax3dgen.export import markdown
from jax3dgen.metrics import intervals
from jax3dgen.recipes.toy import flow as toy_flow
from jax3dgen.recipes.toy import priors as toy_priors

COUNT, RADIUS, STD, CLASS, WHOLE = 8, 4.0, 0.3, 2, -1
# Settings of the authors' code; inversion_guidance is times the guidance.
CODE = {'inversion_guidance': -1.0, 'eta': 0.3}
# name -> (objective, its settings, number of last predictions to record); 2: prediction, control.
FORMS = {
    'sds': ('sds', {}, 1),
    'eq12 fresh': ('jsd', {}, 2),
    'eq12 fresh, eta .3': ('jsd', {'eta': 0.3}, 2),
    'eq12 shared': ('jsd', {'minority_noise': 'shared'}, 2),
    'eq12 shared, eta .3': ('jsd', {'minority_noise': 'shared', 'eta': 0.3}, 2),
    'eq12 without minority': ('jsd', {'minority': False}, 1),
    'targets': ('jsd', {'variant': 'targets'}, 2),
    'targets as in the code': ('jsd', {'variant': 'targets'} | CODE, 2),
}


def settings(name, guidance):
  """(objective, config, predictions to record) of one of FORMS at a guidance scale."""
  module, fields, predictions = FORMS[name]
  objective, defaults = base.load(module)
  common = {'guidance': guidance, 'weighting': 'uniform', 'clip': False}
  if 'inversion_guidance' in fields:
    fields = fields | {'inversion_guidance': fields['inversion_guidance'] * guidance}
  return objective, ConfigDict(defaults | common | fields), predictions


def flow(config, name, guidance, prior, params, target, particles):
  """(Track, prediction [S, N, 2], control variate [S, N, 2]) of one case."""
  c = config.jsd
  objective, cfg, predictions = settings(name, guidance)
  levels = toy_flow.linear_levels(c.steps, c.high, c.low)
  rows = toy_flow.prompt(jnp.int32(target), jnp.int32(WHOLE))
  start = jnp.tile(jnp.array([c.start], jnp.float32), (particles, 1))
  track = jax.jit(lambda key, params: toy_flow.descend(
      key, objective, prior, params, rows, cfg, start, levels, c.rate, predictions))(
          jax.random.key(config.seed), params)
  if predictions == 2:
    return track, *track.predictions
  # The control variate is what g subtracts: g = prediction - control, times w alpha / sigma of JSD.
  t = levels[:, :1, None]
  weight = prior.schedule.alpha(t) / prior.schedule.sigma(t) if name != 'sds' else 1.0
  prediction = track.predictions[0]
  return track, prediction, prediction - track.g / weight


def mean_distance(x):
  """Mean distance of the pairs among the first 200 points of x [N, D]."""
  return float(distance.pdist(np.asarray(x)[:200]).mean())


def measure(config, track, high, low, means, target):
  """The row of one case: correlation, its median over single steps, variance of the difference,
  hits (within 3 std of the target), modes reached by the first 10, 100, ... particles, distances.
  """
  m = toy_flow.moments(high, low)
  steps = toy_flow.moments(jnp.swapaxes(high, 0, 1), jnp.swapaxes(low, 0, 1))
  end = np.asarray(track.end)
  where, away = toy_flow.basins(end, means)
  hit = away < 3 * STD if target == WHOLE else (where == target) & (away < 3 * STD)
  counts = [n for n in (10, 100, 1000) if n <= len(end)]
  return {
      'correlation': toy_flow.bootstrap(m, toy_flow.correlation),
      'per_step': float(np.median(toy_flow.correlation(steps))),
      'variance': toy_flow.bootstrap(m, toy_flow.spread_of_difference),
      'hits': (int(hit.sum()), len(end)), 'hit_interval': intervals.wilson(int(hit.sum()),
                                                                           len(end)),
      'modes': {n: len(np.unique(where[:n][away[:n] < 3 * STD])) for n in counts},
      'ends_apart': mean_distance(end),
      'paths_apart': float(np.mean([mean_distance(x) for x in np.asarray(track.x)[::20]]))}


def cases(config):
  """(prior name, target, guidance, form) of every case; unguided where the target is the whole."""
  for prior in ('exact', 'network'):
    for target in (CLASS, WHOLE):
      for guidance in config.jsd.guidance if target == CLASS else (1.0,):
        for name in config.jsd.forms:
          yield prior, target, guidance, name


def study(config, report=print):
  """(rows, Figure): a dict for each case."""
  exact = toy_priors.circle(COUNT, RADIUS, STD)
  net, params, loss = toy_priors.train(jax.random.key(config.seed), *exact, config.network)
  report(f'The network is trained; its loss is {loss:.3f}.')
  priors = {'exact': exact, 'network': (net, params)}
  rows, flows = [], {}
  for prior, target, guidance, name in cases(config):
    size = config.jsd.particles if prior == 'exact' else config.network.particles
    result = flow(config, name, guidance, *priors[prior], target, size)
    row = {'prior': prior, 'target': 'a class' if target == CLASS else 'all', 'guidance': guidance,
           'objective': name}
    rows.append(row | measure(config, *result, exact[1]['means'], target))
    if prior == 'exact':
      flows[target, guidance, name] = jax.tree.map(np.asarray, result)
  return rows, picture(config, flows, np.asarray(exact[1]['means']))


COLUMNS = ('sds', 'eq12 fresh', 'eq12 shared', 'eq12 shared, eta .3', 'targets as in the code')


def picture(config, flows, means):
  """Rows: prediction against control variate at each guidance, then the paths of 100 particles."""
  guidance = config.jsd.guidance
  names = [name for name in config.jsd.forms if name in COLUMNS] or config.jsd.forms
  figure = Figure((2.1 * len(names), 2.1 * (2 * len(guidance) + 1)), layout='constrained')
  axes = figure.subplots(2 * len(guidance) + 1, len(names), squeeze=False)
  for j, name in enumerate(names):
    for i, s in enumerate(guidance):
      _, high, low = flows[CLASS, s, name]
      pick = np.random.default_rng(0).integers(0, high.size, 1500)
      axes[i, j].plot(low.ravel()[pick], high.ravel()[pick], '.', markersize=1, alpha=0.5)
      axes[i, j].set_xlabel(f'control, s = {s:g}', fontsize=7)
      paths(axes[len(guidance) + i, j], flows[CLASS, s, name][0], means, f'one class, s = {s:g}')
    paths(axes[-1, j], flows[WHOLE, 1.0, name][0], means, 'all classes')
    axes[0, j].set_title(name, fontsize=8)
  for i in range(len(guidance)):
    axes[i, 0].set_ylabel('prediction', fontsize=7)
  for a in axes.ravel():
    a.tick_params(labelsize=6)
  return figure


def paths(axes, track, means, text):
  """The paths of the first 100 particles, where they end (red) and the modes (rings)."""
  axes.plot(*np.moveaxis(track.x[:, :100], -1, 0), color='0.6', linewidth=0.3)
  axes.plot(*means.T, 'o', color='C0', markersize=9, fillstyle='none')
  axes.plot(*track.end[:100].T, '.', color='C3', markersize=3)
  axes.set_xlim(-6.5, 6.5)
  axes.set_ylim(-6.5, 6.5)
  axes.set_aspect('equal')
  axes.set_xlabel(text, fontsize=7)


def section(config, rows):
  """Lines of the section of the page."""
  c = config.jsd
  return [
      f'Eight Gaussians on a circle (radius {RADIUS:g}, std {STD:g}), {c.particles} particles '
      f'({config.network.particles} with the network) from {tuple(c.start)}, {c.steps} Adam steps '
      f'at {c.rate:g}, t from {c.high:g} to {c.low:g}, seed {config.seed}. '
      'The prompt is one class, the empty prompt all of them; "all" has the empty prompt for both. '
      'Correlation and variance are over steps, particles and coordinates, of the '
      'guided prediction and what is subtracted from it, with 95 % bootstrap intervals over '
      'particles; hits end within 3 std of a mode of the target (Wilson); modes are those of the '
      'first 10, 100 and 1000 particles, as far as there are so many.', '',
      *markdown.table(
          ['prior', 'target', 's', 'objective', 'correlation', 'one step, median',
           'variance of the difference', 'hits', 'modes', 'ends apart', 'paths apart'],
          [[r['prior'], r['target'], f'{r["guidance"]:g}', r['objective'],
            toy_flow.interval_text(r['correlation']), f'{r["per_step"]:.2f}',
            toy_flow.interval_text(r['variance']),
            toy_flow.share_text(*r['hits'], *r['hit_interval']),
            ', '.join(map(str, r['modes'].values())), f'{r["ends_apart"]:.3g}',
            f'{r["paths_apart"]:.3g}'] for r in rows])]

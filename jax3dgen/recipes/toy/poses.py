"""RecDreamer's rectifier on a mixture of four poses, one of which is too frequent.

The prior is a mixture of four Gaussians (front, left, back, right) with biased weights, the
classifier its posterior. VSD has the exact critic of its particles (`toy_flow.particle_critic`), so
that a remaining bias is not the error of a trained critic.

RecDreamer divides by the prior's marginal pi, but averages the renders, whose marginal is q. With
an exact classifier the rectified prior has the marginal pi f / q (normalised), and VSD rests where
that is q: at q ~ sqrt(pi f), half way (in logarithms) between the biased prior and the target f.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import camera
from jax3dgen.distill import base, rectifier, sds
from jax3dgen.export import markdown
from jax3dgen.prior import gaussian
from jax3dgen.recipes.toy import flow as toy_flow
from jax3dgen.recipes.toy import priors as toy_priors

RADIUS, STD = 3.0, 0.6
RANGES = {'falling': (0.98, 0.02), 'high': (0.98, 0.6), 'low': (0.4, 0.02), 'mixed': None}
MIXED = (0.02, 0.98)  # range of a level that is sampled for each particle and step


def ideal(prior, classify):
  """VSD with the rectifier whose posterior is exact at every noise level, and the same averages of
  the renders: p_t r is then the mixture whose weights are divided by the averages."""
  def init(key, params, cfg):
    return base.DistillState({'poses': jnp.full((cfg.intervals, 4), 0.25)}, {})

  def direction(key, view, prior, params, state, cfg):
    x_t, _ = base.noised(key, view, prior)
    row = rectifier.interval(view.t, cfg.intervals)
    table = state.buffers['poses']
    cond = jnp.exp(params['log_weights'])[None] / jnp.maximum(table, cfg.floor)[row]
    eps_hat = prior.predict(params, x_t, view.t, cond / cond.sum(-1, keepdims=True))
    g = eps_hat - toy_flow.particle_critic(prior)(view, x_t)
    return g, state.replace(observed=(row, classify(params, view.x0))), base.residual(g)

  def fold(buffers, observed, cfg):
    return {'poses': rectifier.update_averages(buffers['poses'], *observed,
                                               rectifier.decay(cfg.n_ema))}
  return base.Distillation(init, direction, fold=fold)


def objective(config, inner, prior, rect_scale):
  """(Distillation, its config) of SDS, VSD or the ideal rectified VSD; the first two are rectified
  where rect_scale is not 0."""
  c = config.poses
  cfg = sds.DEFAULTS | rectifier.DEFAULTS | {
      'guidance': 1.0, 'weighting': 'uniform', 'clip': False, 'rect_scale': rect_scale,
      'clamp': c.clamp, 'n_ema': c.n_ema * c.particles, 'feed': 'render'}

  def classify(params, x0, t=None, cfg=None):
    return gaussian.posterior(prior, params, x0, jnp.full(len(x0), c.classifier_level))
  if inner == 'ideal':
    return ideal(prior, classify), ConfigDict(cfg)
  critic = toy_flow.particle_critic(prior)
  plain = toy_flow.variational(critic, {'sds': 0.0, 'vsd': 1.0}[inner])
  return rectifier.rectified(plain, classify) if rect_scale else plain, ConfigDict(cfg)


def flow(config, inner, rect_scale, levels, weights):
  """(ends [seeds, N, 2], averages [seeds, intervals, 4] or None) of one case."""
  c = config.poses
  prior, params = toy_priors.circle(4, RADIUS, STD, weights)
  distillation, cfg = objective(config, inner, prior, rect_scale)
  rows = toy_flow.prompt(jnp.int32(-1), jnp.int32(-1))
  levels = (toy_flow.linear_levels(c.steps, *RANGES[levels]) if RANGES[levels] else
            jnp.tile(jnp.array([MIXED]), (c.steps, 1)))

  def run_seed(key):
    k_start, k_flow = jax.random.split(key)
    start = RADIUS * jax.random.normal(k_start, (c.particles, 2))
    track = toy_flow.descend(k_flow, distillation, prior, params, rows, cfg, start,
                             levels, c.rate)
    return track.end, track.buffers.get('poses')
  return jax.jit(jax.vmap(run_seed))(jax.random.split(jax.random.key(config.seed), c.seeds))


def fixed_point(weights):
  """The marginal [K] sqrt(pi f) (normalised) at which USD with an exact classifier rests."""
  root = np.sqrt(np.array(weights) / np.sum(weights))
  return root / root.sum()


def cases(config):
  """(inner, rect_scale, range of levels, weights) of every case; no weights: all poses equal."""
  biased = tuple(config.poses.weights)
  yield from (('vsd', 0.0, 'falling', None), ('sds', 0.0, 'falling', None))
  for inner in ('vsd', 'sds'):
    for scale in (0.0, *config.poses.scales):
      yield inner, scale, 'falling', biased
  yield 'ideal', 1.0, 'falling', biased
  for levels in config.poses.levels:
    for inner, scale in (('vsd', 0.0), ('vsd', config.poses.scales[-1]), ('ideal', 1.0)):
      yield inner, scale, levels, biased


def study(config, report=print):
  """({'flows': rows, 'theory': rows of `theory`}, Figure): the class marginals of each case, with
  intervals over the seeds."""
  rows, prior = [], toy_priors.circle(4, RADIUS, STD)[1]
  for inner, scale, levels, weights in cases(config):
    ends, table = flow(config, inner, scale, levels, weights)
    where, away = toy_flow.basins(ends, prior['means'])
    marginal = toy_flow.shares(where, 4)
    divergence = lambda p: np.log(4) - toy_flow.entropy(p)
    rows.append({
        'objective': inner, 'rect_scale': scale, 'levels': levels,
        'weights': weights or (0.25,) * 4, 'marginal': marginal.mean(0).tolist(),
        'front': toy_flow.bootstrap(marginal[:, :1]),
        'divergence': toy_flow.bootstrap(marginal, divergence),
        'within': float((away < 3 * STD).mean()),
        'table': None if table is None else np.asarray(table).mean(0).tolist()})
  report(f'Poses: {len(rows)} cases.')
  return {'flows': rows, 'theory': theory(config)}, picture(rows)


def theory(config, mixture=((-2.0, 0.0, 1.5), (0.3, 0.5, 0.2), (0.7, 0.2, 0.1))):
  """[(t, marginal of the rectified joint, mean of the prior's own posterior over the rectified
  density)] of a 1-D mixture, by quadrature: only the first is uniform at every t."""
  means, stds, weights = mixture
  prior, params = gaussian.mixture(np.array(means)[:, None], stds, weights)
  grid = np.linspace(-12, 12, 6001)
  x = jnp.asarray(grid, jnp.float32).reshape(-1, 1, 1, 1)
  rows = []
  for t in (0.0, 0.25, 0.5, 0.75, 0.9):
    at, whole = jnp.full(len(grid), t), jnp.full(len(grid), -1)
    density = np.exp(np.asarray(gaussian.log_density(prior, params, x, at, whole), np.float64))
    posterior = np.asarray(gaussian.posterior(prior, params, x, at), np.float64)
    joint = density[:, None] * posterior / len(weights) / np.array(weights)
    mean = lambda values: np.trapezoid(values, grid, axis=0).tolist()
    rows.append((t, mean(joint), mean(joint.sum(1, keepdims=True) * posterior)))
  return rows


def picture(rows):
  """Class marginals as bars, and the rectifier's averages over the noise level."""
  figure = Figure((9, 5.2), layout='constrained')
  top, below = figure.subplots(2, 1)
  names = [f'{r["objective"]}\n{label(r)}' for r in rows]
  bottom = np.zeros(len(rows))
  for k, pose in enumerate(camera.SECTORS):
    share = np.array([r['marginal'][k] for r in rows])
    top.bar(range(len(rows)), share, bottom=bottom, label=pose)
    bottom += share
  top.set_xticks(range(len(rows)), names, fontsize=6)
  top.set_ylabel('share of particles')
  top.legend(fontsize=7, ncols=4, frameon=False, loc='lower center', bbox_to_anchor=(0.5, 1.0))
  for r in rows:
    if r['table'] and r['levels'] == 'falling':
      table = np.array(r['table'])
      level = (np.arange(len(table)) + 0.5) / len(table)
      style = {'vsd': '-', 'sds': ':', 'ideal': '--'}[r['objective']]
      below.plot(level, table[:, 0], marker='.', linestyle=style,
                 label=f'{r["objective"]}, {label(r)}')
  below.axhline(0.25, color='0.7', linewidth=0.8)
  below.set_xlabel('noise level')
  below.set_ylabel('average of p(front)')
  below.legend(fontsize=7, frameon=False, ncols=2)
  return figure


def label(row):
  """The label of a case in the picture: prior, scale and levels where they are not the usual."""
  if max(row['weights']) == min(row['weights']):
    return 'equal\nprior'
  scale = f'scale {row["rect_scale"]:g}' if row['rect_scale'] else 'plain'
  return scale if row['levels'] == 'falling' else f'{scale}\n{row["levels"]}'


def section(config, figures):
  """Lines of the section of the page; `figures` as `study` returns them."""
  c = config.poses
  equal = lambda r: max(r['weights']) == min(r['weights'])
  flows = [[r['objective'], 'equal' if equal(r) else 'biased',
            f'{r["rect_scale"]:g}' if r['rect_scale'] else 'none', r['levels'],
            toy_flow.interval_text(r['front']), ', '.join(f'{p:.2f}' for p in r['marginal']),
            toy_flow.interval_text(r['divergence']), f'{r["within"]:.0%}']
           for r in figures['flows']]
  numbers = lambda p: ', '.join(f'{x:.3f}' for x in p)
  return [
      f'Four Gaussians (radius {RADIUS:g}, std {STD:g}) with the weights '
      f'{", ".join(f"{w:g}" for w in c.weights)}; {c.particles} particles from a broad start in '
      f'each of {c.seeds} runs (seed {config.seed}), {c.steps} Adam steps at {c.rate:g}, noise '
      'levels falling from .98 to .02, or only from .98 to .6 (high) or from .4 to .02 (low), or '
      f'drawn anew from .02 to .98 (mixed); clamp {c.clamp:g}. The classifier is the posterior of '
      f'the clean estimate at level {c.classifier_level:g}. VSD has the exact critic of its '
      'particles; VSD rectified is USD; "ideal" is USD with the exact posterior of the noisy '
      'sample. Intervals: 95 % bootstrap over the runs. The average of the renders comes '
      f'to rest at sqrt(prior), here {numbers(fixed_point(c.weights))}, not at a uniform '
      'marginal.', '',
      *markdown.table(['objective', 'prior', 'rect_scale', 'levels', 'front', 'marginal',
                       'nats from uniform', 'within 3 std'], flows),
      '', 'What the theorem is about (quadrature on a 1-D mixture of weights .7, .2, .1): '
      'the marginal of the rectified joint p(x, c) f(c) / p(c) is uniform at every level, '
      'the mean of the prior\'s own posterior over the rectified density is not.', '',
      *markdown.table(
          ['t', 'marginal of the rectified joint', 'mean of the prior\'s posterior'],
          [[f'{t:g}', numbers(a), numbers(b)] for t, a, b in figures['theory']])]

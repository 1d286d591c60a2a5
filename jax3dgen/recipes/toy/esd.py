"""A Gaussian q = N(a, L L^T) fitted by entropic score distillation, against its fixed point.

With C = alpha^2 Sigma + sigma^2 I the mean gradient of L is alpha^2 (C_p^-1 - l C_q^-1) L, so that
at rest C_q = l C_p: Sigma_q = l Sigma_p - (1 - l) (sigma / alpha)^2 I in the directions where that
is positive, and 0 in the others. l = 1 (VSD without a camera) fits p, l = 0 (SDS) collapses.
"""

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np
import optax

from jax3dgen.export import markdown
from jax3dgen.prior import base, schedule
from jax3dgen.recipes.toy import flow as toy_flow

CASES = {'one dimension': ((0.3,), ((1.5,),)), 'two dimensions': ((0.5, -0.2), ((1.55, 0.65),
                                                                             (0.65, 0.95)))}


def gaussian(mean, covariance, noise=schedule.COSINE):
  """(Prior, params) of N(mean [D], covariance [D, D]); conditions are ignored."""
  params = {'mean': jnp.asarray(mean, jnp.float32), 'covariance': jnp.asarray(covariance,
                                                                              jnp.float32)}

  def predict(params, x_t, t, cond):
    alpha, sigma = noise.alpha(t)[:, None], noise.sigma(t)[:, None]
    c = alpha[..., None]**2 * params['covariance'][None] + (
        sigma[..., None]**2 * jnp.eye(x_t.shape[-1])[None])
    away = x_t[:, 0, 0] - alpha * params['mean'][None]
    return (sigma * jnp.linalg.solve(c, away[..., None])[..., 0])[:, None, None]
  identity = lambda params, x: x
  return base.Prior(lambda key: params, identity, predict, identity, identity, noise), params


def level(abar):
  """The noise level at which alpha^2 is `abar` on the cosine schedule."""
  return 2 / np.pi * np.arccos(np.sqrt(abar))


def fixed_point(covariance, entropy, abar):
  """Sigma_q [D, D] at rest: negative directions collapse."""
  values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
  rest = entropy * values - (1 - entropy) * (1 - abar) / abar
  return (vectors * np.maximum(rest, 0.0)) @ vectors.T


def slope(key, a, scale, prior, params, entropy, t, batch):
  """(mean gradient of a [D], of L [D, D]) of one batch: the direction pulled back to the fit."""
  k_z, k_step = jax.random.split(key)
  z = jax.random.normal(k_z, (batch, len(a)))
  x = a[None] + z @ scale.T
  q, q_params = gaussian(a, scale @ scale.T, prior.schedule)
  critic = lambda view, x_t: q.predict(q_params, x_t, view.t, None)
  objective = toy_flow.variational(critic, entropy)
  zero = jnp.int32(0)
  guide = lambda prior, params, x_t, t, view, scale: prior.predict(params, x_t, t, None)
  view = toy_flow.particle_view(x[:, None, None], jnp.full(batch, t), toy_flow.prompt(zero, zero),
                                0, guide)
  cfg = ConfigDict({'guidance': 1.0, 'weighting': 'uniform'})
  state = objective.init(key, params, cfg)
  g, _, _ = objective.direction(k_step, view, prior, params, state, cfg)
  g = g[:, 0, 0]
  return g.mean(0), g.T @ z / batch


def fit(config, mean, covariance, entropy):
  """(a [seeds, D], Sigma_q [seeds, D, D], variances over the steps [seeds, S, D])."""
  c, size = config.esd, len(mean)
  prior, params = gaussian(mean, covariance)
  t = level(c.abar)
  tx = optax.adam(optax.cosine_decay_schedule(c.rate, c.steps))

  def fit_seed(key):
    k_start, k_steps = jax.random.split(key)
    start = (jnp.asarray(mean) + 3.0 * jax.random.normal(k_start, (size,)), 0.8 * jnp.eye(size))

    def step(carry, i):
      q, opt = carry
      slopes = slope(jax.random.fold_in(k_steps, i), *q, prior, params, entropy, t, c.batch)
      update, opt = tx.update(slopes, opt)
      q = optax.apply_updates(q, update)
      return (q, opt), jnp.diag(q[1] @ q[1].T)
    ((a, scale), _), variances = jax.lax.scan(step, (start, tx.init(start)), jnp.arange(c.steps))
    return a, scale @ scale.T, variances
  return jax.jit(jax.vmap(fit_seed))(jax.random.split(jax.random.key(config.seed), c.seeds))


def study(config, report=print):
  """(rows, Figure): the fit and the fixed point of each case and entropy."""
  rows, curves = [], []
  for name, (mean, covariance) in CASES.items():
    for entropy in config.esd.entropies:
      a, sigma, variances = jax.tree.map(np.asarray, fit(config, mean, covariance, entropy))
      limit = fixed_point(covariance, entropy, config.esd.abar)
      rows.append({
          'case': name, 'entropy': entropy, 'expected': np.linalg.eigvalsh(limit).tolist(),
          'fitted': [toy_flow.bootstrap(v) for v in np.linalg.eigvalsh(sigma).T],
          'off_mean': float(np.abs(a - np.array(mean)).max()),
          'off': float(np.abs(sigma - limit).max())})
      curves.append((name, entropy, variances, np.diag(limit)))
  report(f'ESD: {len(rows)} fits.')
  return rows, picture(curves)


def picture(curves):
  """The first variance of the fit over the steps, and its fixed point (dashed)."""
  figure = Figure((8, 2.8), layout='constrained')
  axes = dict(zip(CASES, figure.subplots(1, len(CASES)), strict=True))
  colors = {}
  for name, entropy, variances, limit in curves:
    color = colors.setdefault(entropy, f'C{len(colors)}')
    axes[name].plot(variances[..., 0].T, color=color, linewidth=0.6)
    axes[name].axhline(limit[0], color=color, linestyle='--', linewidth=0.9)
    axes[name].plot([], color=color, label=f'$\\lambda$ = {entropy:g}')
    axes[name].set_title(name, fontsize=9)
    axes[name].set_xlabel('step')
  for a in axes.values():
    a.legend(fontsize=7, frameon=False)
  next(iter(axes.values())).set_ylabel('first variance of q')
  return figure


def section(config, rows):
  """Lines of the section of the page."""
  c = config.esd
  return [
      f'q = N(a, L L^T) under the direction of ESD at alpha^2 = {c.abar:g}: {c.steps} Adam steps '
      f'of {c.batch} samples, {c.seeds} runs (seed {config.seed}), 95 % bootstrap intervals over '
      'the runs. Eigenvalues of Sigma_q; the fixed point is lambda Sigma_p - (1 - lambda) (sigma / '
      'alpha)^2 I, without its negative directions.', '',
      *markdown.table(
          ['p', 'lambda', 'fixed point', 'fitted', 'largest error of Sigma_q', 'of a'],
          [[r['case'], f'{r["entropy"]:g}', ', '.join(f'{x:.6g}' for x in r['expected']),
            ', '.join(map(toy_flow.interval_text, r['fitted'])), f'{r["off"]:.2g}',
            f'{r["off_mean"]:.2g}'] for r in rows])]

"""JSD, KL and total variation of two 1-D mixtures over a shift of one, and the bounds of JSD."""

from matplotlib.figure import Figure
import numpy as np
from scipy import special, stats

from jax3dgen.export import markdown
from jax3dgen.metrics import divergence

GRID = np.linspace(-12.0, 14.0, 26_001)  # neither density is 0 in here, even in double precision
CELL = GRID[1] - GRID[0]
P = ((0.6, -1.5, 0.5), (0.4, 1.0, 0.8))  # weight, mean, std of each component
Q = ((0.3, -1.5, 0.6), (0.7, 1.0, 0.7))
SHIFTS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # rows of the table


def log_density(parts, shift=0.0):
  """log of a mixture's density on GRID, moved by `shift`."""
  return special.logsumexp([np.log(w) + stats.norm.logpdf(GRID, m + shift, s)
                            for w, m, s in parts], axis=0)


def row(shift):
  """The divergences of P and of Q moved by `shift`, and the best discriminator's value."""
  log_p, log_q = log_density(P), log_density(Q, shift)
  p, q = np.exp(log_p), np.exp(log_q)
  return {'shift': float(shift), 'kl_pq': divergence.kl(p, q, CELL),
          'kl_qp': divergence.kl(q, p, CELL), 'jsd': divergence.jsd(p, q, CELL),
          'tv': divergence.total_variation(p, q, CELL),
          'value': divergence.discriminator_value(p, q, log_p - log_q, CELL)}


def gradients(shift):
  """d/dshift of JSD and of KL(q, p), and the non-saturating direction E_q[(1 - D*) (s_q - s_p)]."""
  log_p, log_q = log_density(P), log_density(Q, shift)
  q, best = np.exp(log_q), special.expit(log_p - log_q)
  scores = np.gradient(log_q - log_p, GRID)
  mean = lambda weight: float(np.sum(q * weight * scores) * CELL)
  return {'jsd': mean(0.5 * best), 'non_saturating': mean(1 - best), 'reverse_kl': mean(1.0)}


def study(config, report=print):
  """(rows, Figure): a dict for each of SHIFTS, with its `gradients` as 'slopes'."""
  shifts = np.linspace(0, SHIFTS[-1], config.bounds.points)
  curve = [row(s) for s in shifts]
  slopes = [gradients(s) for s in shifts]
  report('Divergences: done.')
  return [row(s) | {'slopes': gradients(s)} for s in SHIFTS], picture(curve, slopes)


def picture(curve, slopes):
  """The divergences with the bounds of JSD, and the three directions, over the shift."""
  figure = Figure((8, 3), layout='constrained')
  left, right = figure.subplots(1, 2)
  at = lambda name: np.array([r[name] for r in curve])
  shift = at('shift')
  least = np.minimum(at('kl_pq'), at('kl_qp'))
  for name, values, style in (
      ('KL(q, p)', at('kl_qp'), '-'), ('KL(p, q)', at('kl_pq'), '-'), ('JSD', at('jsd'), '-'),
      ('TV log 2', np.log(2) * at('tv'), '--'), ('least KL / 2', 0.5 * least, '--')):
    left.plot(shift, values, style, label=name, linewidth=1.2)
  left.axhline(np.log(2), color='0.6', linewidth=0.8)
  left.set_ylim(0, 2)
  left.set_ylabel('nats')
  for name, text in (('jsd', 'JSD'), ('non_saturating', 'non-saturating'),
                     ('reverse_kl', 'reverse KL')):
    right.plot(shift, [s[name] for s in slopes], label=text, linewidth=1.2)
  right.set_yscale('symlog', linthresh=0.1)
  right.set_ylabel('direction')
  for a in (left, right):
    a.set_xlabel('shift of q')
    a.legend(fontsize=7, frameon=False)
  return figure


def section(config, rows):
  """Lines of the section of the page."""
  parts = lambda mixture: ' + '.join(f'{w:g} N({m:g}, {s:g}^2)' for w, m, s in mixture)
  cells = [[
      f'{r["shift"]:g}', f'{r["jsd"]:.4f}', f'{0.5 * min(r["kl_pq"], r["kl_qp"]):.4f}',
      f'{0.25 * (r["kl_pq"] + r["kl_qp"]):.4f}', f'{np.log(2) * r["tv"]:.4f}',
      f'{r["kl_pq"]:.4f}', f'{r["kl_qp"]:.4f}', f'{r["value"] + np.log(4) - 2 * r["jsd"]:.0e}',
      *(f'{r["slopes"][name]:.4f}' for name in ('jsd', 'non_saturating', 'reverse_kl'))]
      for r in rows]
  return [
      f'p = {parts(P)}, q = {parts(Q)} moved to the right, by quadrature (no sampling, so no '
      'intervals). V is the value of the best discriminator, 2 JSD - log 4; the last three columns '
      'are the slope of JSD, the non-saturating direction with the discriminator held fixed, and '
      'the slope of KL(q, p), which is what SDS follows.', '',
      *markdown.table(['shift', 'JSD', 'least KL / 2', 'sum of KL / 4', 'log(2) TV', 'KL(p, q)',
                       'KL(q, p)', 'V + log 4 - 2 JSD', 'JSD slope', 'non-saturating',
                       'KL(q, p) slope'], cells)]

"""Particle flow of the toy studies: points that an objective moves by Adam, and their statistics.

Axes: S steps, N particles, D coordinates, K components of a mixture. A study is one jitted scan per
case, on priors of `prior/gaussian` (samples [N, 1, 1, D]) or of `toy/priors`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax3dgen.core import camera as cameras
from jax3dgen.core.types import Array, Prompt, View
from jax3dgen.distill import base, sds
from jax3dgen.prior import gaussian

PLACES = 1023  # distinct world positions of particles


class Track(NamedTuple):
  """The record of `descend`: particles x [S, N, D] before each step, directions g [S, N, D] and the
  last guided predictions of each step, arrays [S, N, D]; then the particles [N, D] and the
  objective's buffers at the end."""
  x: Array
  g: Array
  predictions: tuple
  end: Array
  buffers: Any


def prompt(main, null, negative=None, source=None):
  """A Prompt all of whose views have the row `main`; `negative` defaults to `null`, `source` to
  `main`."""
  return Prompt(*[main] * 5, null=null, negative=null if negative is None else negative,
                source=(main if source is None else source,) * 4)


def particle_view(x, t, rows, step, guide):
  """The View of particles x [N, 1, 1, D], all from the front, at noise levels t [N].

  Particles are renders of N objects: each has its own world position, 1 / PLACES from the next.
  """
  still = jnp.zeros(len(x))
  camera = cameras.orbit(still, still, still + 3.0, still + 0.7)
  place = ((jnp.arange(len(x)) % PLACES + 0.5) / PLACES).reshape(-1, 1, 1, 1)
  points = jnp.pad(place, ((0, 0), (0, 0), (0, 0), (0, 2)))
  return jax.lax.stop_gradient(View(x, x, points, t, rows, camera, step, guide))


def descend(key, objective, prior, params, rows, cfg, start, levels, rate, predictions=0):
  """The Track of particles [N, D] from `start` under an objective, by Adam at `rate`.

  levels [S, 2] are the ranges from which the noise levels of a step are sampled, one for each
  particle. `predictions` is how many of the objective's last guided predictions to record; none of
  them may lie within a loop of its own.
  """
  tx = optax.adam(rate, 0.9, 0.99)
  x = start[:, None, None, :]
  state = objective.init(key, params, cfg)

  def step(carry, now):
    x, opt, buffers = carry
    i, (low, high) = now
    k_level, k_step = jax.random.split(jax.random.fold_in(key, i))
    t = jax.random.uniform(k_level, (len(x),), minval=low, maxval=high)
    calls = []

    def guide(*arguments):
      calls.append(base.classifier_free(*arguments))
      return calls[-1]
    g, after, _ = objective.direction(k_step, particle_view(x, t, rows, i, guide), prior,
                                      params, state.replace(buffers=buffers), cfg)
    after = base.folded(objective, after, cfg)
    g = sum(g) if isinstance(g, base.Gradients) else g  # a particle is its own image
    update, opt = tx.update(g, opt)
    values = (x, g, *calls[len(calls) - predictions:])
    return (optax.apply_updates(x, update), opt, after.buffers), [v[:, 0, 0] for v in values]

  carry = (x, tx.init(x), state.buffers)
  (x, _, buffers), values = jax.lax.scan(step, carry, (jnp.arange(len(levels)), levels))
  return Track(values[0], values[1], tuple(values[2:]), x[:, 0, 0], buffers)


def linear_levels(steps, high, low):
  """Levels [S, 2] that fall linearly from high to low; the range of a step is one level."""
  return jnp.tile(jnp.linspace(high, low, steps)[:, None], (1, 2))


def variational(critic, entropy):
  """SDS, ESD or VSD with an exact critic: g = w (guided - (1 - l) eps - l critic).

  critic(view, x_t) -> eps [N, 1, 1, D] is the score of all renders together, l is `entropy`: 0 is
  SDS, 1 is VSD without a camera, between them lies ESD, whose critic with a camera has one render
  and predicts the sampled noise.
  """
  def direction(key, view, prior, params, state, cfg):
    x_t, eps = base.noised(key, view, prior)
    eps_hat = base.guided(prior, params, x_t, view.t, view, cfg.guidance)
    w = sds.weight(cfg.weighting, prior, view.t, x_t)
    g = w * (eps_hat - (1 - entropy) * eps - entropy * critic(view, x_t))
    return g, state, base.residual(g)
  return base.stateless(direction)


def particle_critic(prior):
  """A critic with the exact eps of the noised particles, which are a mixture of N Gaussians."""
  def critic(view, x_t):
    count = len(x_t)
    centers = {'means': view.x0[:, 0, 0], 'stds': jnp.zeros(count),
               'log_weights': jnp.full(count, -jnp.log(count))}
    whole, _ = gaussian.mixture(jnp.zeros((1, x_t.shape[-1])), [1.0], [1.0], prior.schedule)
    return whole.predict(centers, x_t, view.t, jnp.full(count, -1))
  return critic


def basins(x, means):
  """(index [...] of the nearest of the means [K, D] to x [..., D], its distance), on the host."""
  distances = np.linalg.norm(np.asarray(x)[..., None, :] - np.asarray(means), axis=-1)
  return distances.argmin(-1), distances.min(-1)


def shares(index, count):
  """Share [..., count] of each index in the last axis of `index` [..., N]."""
  return np.stack([(np.asarray(index) == k).mean(-1) for k in range(count)], -1)


def entropy(p):
  """-sum p log p [...] of probabilities p [..., K], in nats."""
  p = np.asarray(p, np.float64)
  return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


def bootstrap(rows, figure=lambda mean: mean[..., 0], count=2000, seed=0):
  """(figure of the mean row, low, high): a 95 % percentile interval over independent rows [N, M].

  `figure` takes means [..., M] to [...], so that it may be a correlation of moments as well.
  """
  rows = np.asarray(rows, np.float64)
  rows = rows.reshape(len(rows), -1)
  n = len(rows)
  counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), count)
  low, high = np.percentile(figure(counts @ rows / n), (2.5, 97.5))
  return float(figure(rows.mean(0))), float(low), float(high)


def moments(a, b):
  """Rows [N, 5] for `bootstrap` of tracks a and b [S, N, D]: means of a, b, a^2, b^2, a b."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return np.stack([x.mean((0, 2)) for x in (a, b, a * a, b * b, a * b)], -1)


def correlation(m):
  """Pearson's correlation [...] of moments [..., 5]; 0 where one side does not vary."""
  spread = (m[..., 2] - m[..., 0]**2) * (m[..., 3] - m[..., 1]**2)
  covariance = m[..., 4] - m[..., 0] * m[..., 1]
  return np.where(spread > 1e-20, covariance / np.sqrt(np.maximum(spread, 1e-20)), 0.0)


def spread_of_difference(m):
  """The variance [...] of a - b, of moments [..., 5]."""
  return m[..., 2] + m[..., 3] - 2 * m[..., 4] - (m[..., 0] - m[..., 1])**2


def interval_text(value):
  """(figure, low, high) as '0.12 (0.10 to 0.14)'."""
  return '{:.3g} ({:.3g} to {:.3g})'.format(*value)


def share_text(hits, count, low, high):
  """A share and its interval as '90.0% (80.0% to 95.0%)'."""
  return f'{hits / count:.1%} ({low:.1%} to {high:.1%})'

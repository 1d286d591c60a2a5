"""RecDreamer's rectifier: reweighs the prior so that all poses are equally likely.

The rectified density is p_t(x_t) r(x_t) with r = sum_c f(c) / pbar_t(c) p(c | x_t) (Eqs. 10 and
11), where p(c | x_t) is a classifier's opinion on the clean estimate of x_t, f the wanted
distribution of poses (uniform), and pbar_t an average over the steps so far of the poses in one of
`intervals` ranges of the noise level. It adds -w sigma / alpha grad_{x_0} log r to an objective's
direction (Eq. 14), differentiated through the denoiser and the decoder.

The average pbar is fed with the renders, so it tells of the field and not of the prior: the
rectifier is a controller that comes to rest when renders of all poses are equally frequent (the
prior's own marginal does not depend on t). At `rect_scale` 1, the paper's formula, it is some
hundredths of what distillation asks for and does nothing; the authors' code multiplies it by the
number of latent entries and then clamps it. The clamp is per view, to `clamp` times the norm of the
objective's own direction; where x_0 is no image, in latents (the paper: in images).
"""

import jax
import jax.numpy as jnp

from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors

DEFAULTS = {
    'classes': 4,  # poses that the classifier tells apart
    'intervals': 10,  # ranges of the noise level with an average of their own
    'n_ema': 100,  # views that carry 90 percent of the weight of an average
    'rect_scale': 100.0,  # times the rectifier's direction; 1: the paper's Eq. 14
    'clamp': 1.0,  # most of its norm, over that of the objective's direction, for each view
    'floor': 0.01,  # least probability that an average is taken for
    'feed': 'render',  # what the averages are of: render (the paper) or estimate
    'control': False,  # ask for the pose of the camera instead (RecDreamer C.5): no averages
    'detach_denoiser': False,  # leave the denoiser's Jacobian out: cheaper, another direction
}


def decay(n_ema):
  """The share of a new view such that the last n_ema views carry 90 % of the weight."""
  return 1.0 - 0.1**(1.0 / n_ema)


def interval(t, count):
  """Which of `count` equal ranges of [0, 1] noise levels t [...] are in; 0 is the least noise."""
  return jnp.minimum((t * count).astype(jnp.int32), count - 1)


def averaged(table, rows, probabilities, rate):
  """The table [N, K] after one view after the other, probabilities [B, K] in rows [B]."""
  def one(table, pair):
    row, p = pair
    return table.at[row].set((1 - rate) * table[row] + rate * p), None
  return jax.lax.scan(one, table, (rows, probabilities))[0]


def clamped(change, g, most):
  """change [B, ...] scaled down, view by view, to at most `most` times the norm of g [B, ...]."""
  norm = lambda x: jnp.sqrt(jnp.sum(x**2, tuple(range(1, x.ndim))))
  own = norm(change)
  share = jnp.minimum(most * norm(g) / jnp.where(own > 0, own, 1.0), 1.0)
  return priors.broadcast(share, change) * change


def rectified(inner, classify):
  """`inner`, a Distillation, with the rectifier.

  classify(params, image [B, H, W, 3] in [0, 1]) -> probabilities [B, K], with the prior's `params`.
  Buffers are those of `inner` and the averages [intervals, K] beside them. The noise is what
  `inner` draws by `base.noised`, and `guidance`, `weighting` and `clip` are its settings; a module
  that fills in `classify` has DEFAULTS = sds.DEFAULTS | rectifier.DEFAULTS, say.
  """
  def init(key, params, cfg):
    if cfg.feed not in ('render', 'estimate'):
      raise ConfigError(f'config.distill.feed={cfg.feed!r} is none of render, estimate.')
    state = inner.init(key, params, cfg)
    table = jnp.full((cfg.intervals, cfg.classes), 1.0 / cfg.classes)
    return state.replace(buffers={'inner': state.buffers, 'poses': table})

  def direction(key, view, prior, params, state, cfg):
    own = state.replace(buffers=state.buffers['inner'])
    g, own, metrics = inner.direction(key, view, prior, params, own, cfg)
    x_t, _ = base.noised(key, view, prior)
    row = interval(view.t, cfg.intervals)
    marginal = jnp.maximum(state.buffers['poses'], cfg.floor)[row]

    def log_r(x_t):
      eps_hat = base.guided(prior, params, x_t, view.t, view, cfg.guidance)
      if cfg.detach_denoiser:
        eps_hat = jax.lax.stop_gradient(eps_hat)
      clean = priors.x0_from_eps(prior.schedule, x_t, view.t, eps_hat)
      if cfg.get('clip', False):
        clean = jnp.clip(clean, -1.0, 1.0)
      p = classify(params, prior.decode(params, clean))
      if cfg.control:
        r = (jax.nn.one_hot(base.sector(view, cfg.classes), cfg.classes) * p).sum(-1)
      else:  # exactly 1, and without a gradient, where the averages are uniform
        r = 1.0 + ((1.0 / cfg.classes / marginal - 1.0) * p).sum(-1)
      return jnp.log(jnp.maximum(r, 1e-20)).sum(), p

    pull, estimated = jax.grad(log_r, has_aux=True)(x_t)
    _, sigma = priors.coefficients(prior.schedule, view.t, x_t)
    change = -cfg.rect_scale * sds.weight(cfg.weighting, prior, view.t, x_t) * sigma * pull
    p = classify(params, view.image) if cfg.feed == 'render' else estimated
    table = averaged(state.buffers['poses'], row, p, decay(cfg.n_ema))
    norm = lambda x: jnp.sqrt(jnp.sum(x**2, (1, 2, 3)))
    metrics = metrics | {
        'rectifier': (norm(change) / jnp.maximum(norm(g), 1e-12)).mean(),
        'pose_entropy': -(table * jnp.log(jnp.maximum(table, 1e-12))).sum(-1).mean()}
    state = own.replace(buffers={'inner': own.buffers, 'poses': table})
    return g + clamped(change, g, cfg.clamp), state, metrics

  return base.Distillation(init, direction, inner.fit)

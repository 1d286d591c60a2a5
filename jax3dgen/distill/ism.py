"""Interval score matching (LucidDreamer, Liang et al. 2024).

The render is inverted with DDIM under the empty prompt to s = t - interval and by one more step to
t; g = w(t) (eps_guided(x_t, t) - eps_null(x_s, s)). The trajectory is deterministic, so the target
has no variance from random noise. The original has a fixed stride; here the number of steps is
fixed, as a compiled program needs it, and the stride follows from it.
"""

import jax.numpy as jnp

from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors
from jax3dgen.prior import sampler

DEFAULTS = {
    'guidance': 7.5,  # classifier-free guidance scale at t
    'interval': 0.05,  # t - s
    'inversion_steps': 3,  # from the clean render to s
    'weighting': 'sds',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
}


def direction(key, view, prior, params, state, cfg):
  schedule, low = prior.schedule, prior.schedule.safe_range[0]
  null = base.repeat(view.prompt.null, len(view.x0))
  predict = lambda x, t: prior.predict(params, x, t, null)
  s = jnp.maximum(view.t - cfg.interval, low)
  x_s = sampler.invert(key, schedule, predict, view.x0, s, cfg.inversion_steps)
  eps_s = predict(x_s, s)
  x_t = priors.add_noise(schedule, priors.x0_from_eps(schedule, x_s, s, eps_s), view.t, eps_s)
  eps_hat = base.guided(prior, params, x_t, view.t, view, cfg.guidance)
  g = sds.weight(cfg.weighting, prior, view.t, x_t) * (eps_hat - eps_s)
  return g, state, base.residual(g)


def denoiser_rows(cfg, guided):
  """See `base.Distillation`: the inversion and its end under the empty prompt, the prediction."""
  return cfg.inversion_steps + 1 + guided


DISTILLATION = base.stateless(direction, denoiser_rows=denoiser_rows)

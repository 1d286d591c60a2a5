"""Noise-free score distillation (Katzir et al. 2024): guidance plus an estimate of the domain.

g = w(t) (s (eps_cond - eps_null) + d), where d stands for the step towards clean images: eps_null
at low noise (t < 0.2), where the flaws of the render dominate it, else eps_null - eps_negative.
"""

import jax.numpy as jnp

from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors

LOW = 0.2  # noise level below which the unconditional prediction is all domain

DEFAULTS = {
    'guidance': 7.5,  # scale of eps_cond - eps_null
    'negative_prompt': base.FLAWS,  # words of eps_negative
    'weighting': 'sds',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
}
LATENT = {'negative_prompt': 'unrealistic, blurry, low quality, out of focus, ugly, low contrast, '
                             'dull, dark, low-resolution, gloomy'}


def direction(key, view, prior, params, state, cfg):
  x_t, _ = base.noised(key, view, prior)
  cond, null, negative = priors.predict_rows(
      prior, params, x_t, view.t, base.rows(view), base.repeat(view.prompt.null, len(x_t)),
      base.repeat(view.prompt.negative, len(x_t)))
  domain = jnp.where(priors.broadcast(view.t < LOW, null), null, null - negative)
  g = cfg.guidance * (cond - null) + domain
  g = sds.weight(cfg.weighting, prior, view.t, g) * g
  return g, state, base.residual(g)


DISTILLATION = base.stateless(direction, guided=False, denoiser_rows=lambda cfg, guided: 3)

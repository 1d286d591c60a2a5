"""HiFA (Zhu et al. 2024): SDS plus the same residual in image space.

The clean estimate is decoded, and its difference from the image of the render, times w alpha /
sigma, is pulled back through the decoder: g = w (eps_guided - eps) + image_weight J_decode^T
(w alpha / sigma (decode(x_0) - decode(x0_hat))). HiFA's annealing (one noise level for all views,
falling as a square root) is `config.timestep`, and its z-variance a regulariser.
"""

import jax

from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors

DEFAULTS = {
    'guidance': 4.0,  # classifier-free guidance scale
    'weighting': 'sds',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
    'image_weight': 1.0,  # of the residual in image space
}


def direction(key, view, prior, params, state, cfg):
  x_t, eps = base.noised(key, view, prior)
  eps_hat = base.guided(prior, params, x_t, view.t, view, cfg.guidance)
  w = sds.weight(cfg.weighting, prior, view.t, x_t)
  alpha, sigma = priors.coefficients(prior.schedule, view.t, x_t)
  clean = priors.x0_from_eps(prior.schedule, x_t, view.t, eps_hat)
  image, pull = jax.vjp(lambda x0: prior.decode(params, x0), view.x0)
  (pulled,) = pull(image - prior.decode(params, clean))
  g = w * (eps_hat - eps) + cfg.image_weight * w * alpha / sigma * pulled
  return g, state, base.residual(g)


DISTILLATION = base.stateless(direction)

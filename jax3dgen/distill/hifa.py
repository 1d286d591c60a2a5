"""HiFA (Zhu et al. 2024): SDS plus the same residual in image space.

With respect to x_0 g = w (eps_guided - eps); with respect to the pixels of the render I it is
image_weight w alpha / sigma (I - decode(x0_hat)), the clean estimate being resized to the render.
HiFA's annealing (one noise level for all views, falling as a square root) is `config.timestep`, and
its z-variance a regulariser.
"""

from jax3dgen.core import image
from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors

DEFAULTS = {
    'guidance': 4.0,  # classifier-free guidance scale
    'weighting': 'sds',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
    'image_weight': 1.0,  # of the residual in image space
}
LATENT = {'guidance': 100.0, 'image_weight': 0.01}


def direction(key, view, prior, params, state, cfg):
  x_t, eps = base.noised(key, view, prior)
  eps_hat = base.guided(prior, params, x_t, view.t, view, cfg.guidance)
  w = sds.weight(cfg.weighting, prior, view.t, x_t)
  alpha, sigma = priors.coefficients(prior.schedule, view.t, x_t)
  clean = priors.x0_from_eps(prior.schedule, x_t, view.t, eps_hat)
  picture = image.resize(prior.decode(params, clean), view.image.shape[1:3])
  g = w * (eps_hat - eps)
  of_image = cfg.image_weight * w * alpha / sigma * (view.image - picture)
  return base.Gradients(g, of_image), state, base.residual(g)


DISTILLATION = base.stateless(direction, pixels=True)

"""Score distillation via inversion (Lukoianov et al. 2024).

The noise is not random: DDIM inversion of the render under negative guidance gives x_t, and
g = x_0 - x0_hat(x_t) = sigma / alpha (eps_guided(x_t) - eps_inverted), so that the render moves to
the guided estimate. threestudio's form; its `timestep` falls linearly from 0.98 to 0.25.
"""

from jax3dgen.core import rng
from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors
from jax3dgen.prior import sampler

DEFAULTS = {
    'guidance': 7.5,  # classifier-free guidance scale of the estimate
    'inversion_guidance': -7.5,  # of the inversion
    'inversion_steps': 10,  # from the clean render to t
    'eta': 0.3,  # fresh noise added in the inversion, see `sampler.invert`
    'clip': True,  # clip the clean estimate to the range of images
}
LATENT = {'clip': False}


def invert(key, view, prior, params, cfg, renoise=0):
  """x_t [B, h, w, c]: the renders, inverted under cfg.inversion_guidance."""
  predict = lambda x, t: base.guided(prior, params, x, t, view, cfg.inversion_guidance)
  return sampler.invert(rng.stream(key, 'inversion'), prior.schedule, predict, view.x0, view.t,
                        cfg.inversion_steps, cfg.eta, renoise)


def direction(key, view, prior, params, state, cfg):
  x_t = invert(key, view, prior, params, cfg)
  eps_hat = sds.predict(prior, params, x_t, view, cfg)
  g = view.x0 - priors.x0_from_eps(prior.schedule, x_t, view.t, eps_hat)
  return g, state, base.residual(g)


def denoiser_rows(cfg, guided):
  """See `base.Distillation`: the inversion and the prediction."""
  return guided * (cfg.inversion_steps + 1)


DISTILLATION = base.stateless(direction, denoiser_rows=denoiser_rows)

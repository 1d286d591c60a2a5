"""Score distillation sampling (DreamFusion Eq. 3; RecDreamer Eq. 5).

g = w(t) (eps_guided(x_t, t) - eps), with x_t the render noised by eps.

With `clip`, the guided estimate of the clean image is clipped to the prior's range [-1, 1] before
it is converted back to noise. For w = sigma this reads g = alpha (x_0 - clip(x_hat)): the target
then stays in the range of images. It is meant for pixel priors, whose range is known.
"""

import jax.numpy as jnp

from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base
from jax3dgen.prior import base as priors

DEFAULTS = {
    'guidance': 4.0,  # classifier-free guidance scale; 1 is the conditional prediction
    'weighting': 'sigma',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
    'clip': True,  # clip the clean estimate to the range of images
}
LATENT = {'guidance': 100.0, 'weighting': 'sds', 'clip': False}  # DreamFusion in threestudio

WEIGHTINGS = {
    'sds': lambda alpha, sigma: sigma**2,               # 1 - abar: DreamFusion, threestudio
    'uniform': lambda alpha, sigma: jnp.ones_like(sigma),
    'fantasia3d': lambda alpha, sigma: alpha * sigma**2,  # sqrt(abar) (1 - abar)
    'sigma': lambda alpha, sigma: sigma,
}


def weight(name, prior, t, like):
  """w(t) broadcast to `like` [B, ...]; ConfigError for an unknown name."""
  if name not in WEIGHTINGS:
    raise ConfigError(f'config.distill.weighting={name!r} is none of {", ".join(WEIGHTINGS)}.')
  w = WEIGHTINGS[name](prior.schedule.alpha(t), prior.schedule.sigma(t))
  return priors.broadcast(w, like)


def clip_noise(prior, x_t, t, eps):
  """The noise prediction whose clean estimate is that of `eps`, clipped to [-1, 1]."""
  x0 = jnp.clip(priors.x0_from_eps(prior.schedule, x_t, t, eps), -1.0, 1.0)
  return priors.eps_from_x0(prior.schedule, x_t, t, x0)


def predict(prior, params, x_t, view, cfg, eps_hat=None):
  """The guided noise prediction [B, h, w, c] at x_t, clipped where `cfg.clip` says so.

  `eps_hat` is the prediction before clipping where it is computed already.
  """
  if eps_hat is None:
    eps_hat = base.guided(prior, params, x_t, view.t, view, cfg.guidance)
  return clip_noise(prior, x_t, view.t, eps_hat) if cfg.clip else eps_hat


def direction(key, view, prior, params, state, cfg):
  x_t, eps = base.noised(key, view, prior)
  eps_hat = predict(prior, params, x_t, view, cfg, view.prediction)
  g = weight(cfg.weighting, prior, view.t, view.x0) * (eps_hat - eps)
  return g, state, base.residual(g)


DISTILLATION = base.stateless(direction)

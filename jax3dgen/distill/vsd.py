"""Variational score distillation (ProlificDreamer, Wang et al. 2023; RecDreamer Eq. 9).

g = w(t) (eps_guided(x_t) - eps_critic(x_t, camera)): where SDS subtracts the noise of x_t, VSD
subtracts its prediction by a critic (`distill.critic`) that is trained on the renders.
"""

import jax.numpy as jnp

from jax3dgen.distill import base, critic, sds

DEFAULTS = critic.DEFAULTS | {
    'guidance': 4.0,  # classifier-free guidance scale
    'weighting': 'sigma',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
    'clip': True,  # clip the clean estimate to the range of images
}
LATENT = {'guidance': 7.5, 'weighting': 'sds', 'clip': False}  # ProlificDreamer


def init(key, params, cfg):
  return base.DistillState({}, critic.init(key, params, cfg))


def direction(key, view, prior, params, state, cfg, entropy=0.0):
  """`entropy` is ESD's weight of the critic without a camera; 0 is VSD."""
  x_t, _ = base.noised(key, view, prior)
  eps_hat = sds.predict(prior, params, x_t, view, cfg, view.prediction)
  cond, cameras = base.repeat(view.prompt.main, len(x_t)), critic.cameras(view)
  of = lambda cameras: critic.predict(state.trainable, prior, params, x_t, view.t, cond, cameras)
  eps_critic = of(cameras)
  if entropy:
    eps_critic = (1 - entropy) * eps_critic + entropy * of(jnp.zeros_like(cameras))
  g = sds.weight(cfg.weighting, prior, view.t, x_t) * (eps_hat - eps_critic)
  return g, state, base.residual(g)


def denoiser_rows(cfg, guided):
  """See `base.Distillation`: the prediction, the critic, and its fit (forward, back, weights)."""
  return guided + 1 + 3


DISTILLATION = base.Distillation(init, direction, critic.fit, denoiser_rows=denoiser_rows)

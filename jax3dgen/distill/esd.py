"""Entropic score distillation (Wang et al. 2024): VSD with a second critic without the camera.

g = w(t) (eps_guided - (1 - entropy) eps_critic(x_t, camera) - entropy eps_critic(x_t, no camera)).
The second critic's score is that of the marginal over cameras; it adds the entropy of that marginal
to what VSD maximises. `entropy` 0 is VSD.
"""

from jax3dgen.distill import base, critic, vsd

DEFAULTS = vsd.DEFAULTS | {
    'entropy': 0.5,  # weight of the critic without a camera (lambda)
}
LATENT = vsd.LATENT


def direction(key, view, prior, params, state, cfg):
  return vsd.direction(key, view, prior, params, state, cfg, cfg.entropy)


def denoiser_rows(cfg, guided):
  """See `base.Distillation`: those of VSD, and the critic without a camera."""
  return vsd.denoiser_rows(cfg, guided) + bool(cfg.entropy)


DISTILLATION = base.Distillation(vsd.init, direction, critic.fit, denoiser_rows=denoiser_rows)

"""Score Jacobian chaining (Wang et al. 2023) in the variance-preserving form.

With s = sigma / alpha and y = x_0 + s n, the score at y is (D(y) - y) / s^2 for the denoiser D.
SJC weights it by s: g = (y - D(y)) / s, which is the noise prediction itself; subtracting the noise
n, g = (x_0 - D(y)) / s, does not change the mean and removes most of the variance. That form is SDS
with w = 1: the two differ in the distribution of noise levels.
"""

from jax3dgen.distill import base

DEFAULTS = {
    'guidance': 4.0,  # classifier-free guidance scale
    'centered': True,  # subtract the noise of x_t
}
LATENT = {'guidance': 100.0}  # threestudio


def direction(key, view, prior, params, state, cfg):
  x_t, eps = base.noised(key, view, prior)
  eps_hat = base.guided(prior, params, x_t, view.t, view, cfg.guidance)
  g = eps_hat - eps if cfg.centered else eps_hat
  return g, state, base.residual(g)


DISTILLATION = base.stateless(direction)

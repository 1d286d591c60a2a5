"""Jensen-Shannon score distillation (Do & Hua 2025).

The render is inverted to x_t under the prompt; the 'minority' sample xbar_t is its clean estimate
x0_hat(x_t) noised again, and the prediction there is the control variate.

`variant`:
- 'eq12', the paper's Eq. 12: g = w alpha / sigma (eps_guided(x_t) - eps_guided(xbar_t)). With
  minority = False, the ablation of Figure 6, the control variate is the noise of the inversion.
- 'targets', what the authors' code computes: two attractions, g = (x_0 - x0_hat(x_t))
  + minority_weight (x_0 - x0_hat(xbar_t)), where eps_guided(xbar_t) has the other sign.
- `exact(log_density)` makes the objective whose discriminator is known, for toys: Eqs. 8 and 9 with
  log(p / q) are the reverse KL divergence; the pathwise gradient of JSD is half the discriminator
  D* = p / (p + q) times that.

`minority_noise`: 'fresh' as in the paper, or 'shared', the noise of the inversion: only then are
the prediction and its control variate correlated on an exact score (docs/methods.md).
`clip`, which the paper's latent prior does not need, is that of `distill.sds`, for both estimates.
The noise level falls linearly over the run (`configs/jsd.py`): random levels, as for SDS, left
shapeless fields (docs/results/diversity.md).
"""

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from jax3dgen.core import rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base, sdi, sds
from jax3dgen.prior import base as priors

DEFAULTS = {
    'guidance': 13.5,  # classifier-free guidance scale of both predictions
    'variant': 'eq12',  # eq12 (the paper) or targets (the authors' code)
    'minority': True,  # use the minority sample; False: the ablation without it
    'minority_noise': 'fresh',  # fresh (the paper) or shared
    'minority_weight': 1.0,  # of the second attraction of targets
    'inversion_guidance': 1.0,  # of the inversion; the authors' code has -13.5
    'inversion_steps': 10,  # from the clean render to t
    'eta': 0.0,  # fresh noise added in the inversion; the authors' code has 0.3
    'renoise': 0,  # fixed-point iterations of an inversion step
    'weighting': 'sds',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
    'clip': True,  # clip the clean estimates to the range of images, before and after the noise
}
LATENT = {'clip': False}


def direction(key, view, prior, params, state, cfg):
  for name, choices in (('variant', ('eq12', 'targets')), ('minority_noise', ('fresh', 'shared'))):
    if cfg[name] not in choices:
      raise ConfigError(f'config.distill.{name}={cfg[name]!r} is none of {", ".join(choices)}.')
  clean = lambda x, eps: priors.x0_from_eps(prior.schedule, x, view.t, eps)
  predict = lambda x: sds.predict(prior, params, x, view, cfg)
  x_t = sdi.invert(key, view, prior, params, cfg, cfg.renoise)
  eps = priors.eps_from_x0(prior.schedule, x_t, view.t, view.x0)
  high = predict(x_t)
  low = eps
  if cfg.minority:
    fresh = jax.random.normal(rng.stream(key, 'minority'), x_t.shape)
    noise = eps if cfg.minority_noise == 'shared' else fresh
    xbar_t = base.noise_to(prior, clean(x_t, high), view.t, noise)
    low = predict(xbar_t)
  if cfg.variant == 'eq12':
    alpha, sigma = priors.coefficients(prior.schedule, view.t, x_t)
    g = sds.weight(cfg.weighting, prior, view.t, x_t) * alpha / sigma * (high - low)
  else:
    g = view.x0 - clean(x_t, high)
    if cfg.minority:
      g = g + cfg.minority_weight * (view.x0 - clean(xbar_t, low))
  return g, state, base.residual(g)


def exact(log_density, saturating=True):
  """The objective with the discriminator D* = p / (p + q) of q(x_t | x_0) and p(x_t | prompt).

  log_density(params, x_t, t, cond) -> [B] is that of the prior. g = w D* / 2 (eps_hat - eps): the
  pathwise gradient of JSD in x_0, times w sigma / alpha. `saturating` False is that of the loss
  -log D with D* held fixed, with 1 - D* for D* / 2.
  """
  def direction(key, view, prior, params, state, cfg):
    x_t, eps = base.noised(key, view, prior)
    cond = base.rows(view)
    eps_hat = prior.predict(params, x_t, view.t, cond)
    _, sigma = priors.coefficients(prior.schedule, view.t, x_t)
    log_p = log_density(params, x_t, view.t, cond)
    log_q = norm.logpdf(eps).sum((1, 2, 3)) - eps[0].size * jnp.log(sigma).ravel()
    share = jax.nn.sigmoid(log_p - log_q)
    share = priors.broadcast(0.5 * share if saturating else 1.0 - share, x_t)
    g = sds.weight(cfg.weighting, prior, view.t, x_t) * share * (eps_hat - eps)
    return g, state, base.residual(g)
  return base.stateless(direction)


def denoiser_rows(cfg, guided):
  """See `base.Distillation`: the inversion, the prediction, and that at the minority sample."""
  return guided * (cfg.inversion_steps * (1 + cfg.renoise) + 1 + cfg.minority)


DISTILLATION = base.stateless(direction, denoiser_rows=denoiser_rows)

"""Classifier score distillation (Yu et al. 2024): the classifier part of guidance alone.

g = w(t) (p eps_cond + (n - p) eps_null - n eps_negative), with the positive weight p and the
negative weight n; n = 0 is w p (eps_cond - eps_null). No noise is subtracted: the terms share it.
"""

from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors
from jax3dgen.train import optim

DEFAULTS = {
    'positive': 4.0,  # weight of the prompt
    'negative': 0.0,  # weight against the negative prompt, or a schedule
    'negative_prompt': base.FLAWS,  # its words
    'weighting': 'sigma',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
}
# The weights and words of the authors' coarse stage, which has another prior (DeepFloyd).
LATENT = {'positive': 1.0, 'negative': (0, 0.0, 1.0, 0.5), 'weighting': 'uniform',
          'negative_prompt': 'oversaturated color, ugly, tiling, low quality, noisy'}


def direction(key, view, prior, params, state, cfg):
  x_t, _ = base.noised(key, view, prior)
  rows = [base.rows(view), base.repeat(view.prompt.null, len(x_t))]
  if cfg.negative:
    rows.append(base.repeat(view.prompt.negative, len(x_t)))
  cond, null, *negative = priors.predict_rows(prior, params, x_t, view.t, *rows)
  g = cfg.positive * (cond - null)
  if negative:
    g = g + optim.scalar(cfg.negative, view.step) * (null - negative[0])
  g = sds.weight(cfg.weighting, prior, view.t, g) * g
  return g, state, base.residual(g)


DISTILLATION = base.stateless(direction, guided=False,
                              denoiser_rows=lambda cfg, guided: 2 + bool(cfg.negative))

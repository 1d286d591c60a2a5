"""Guidance rules, the values of `View.guide`: combinations of the predictions of several prompts.

All have the signature of `base.classifier_free`, and apply to every objective that calls
`base.guided`.
"""

import functools

import jax
import jax.numpy as jnp

from jax3dgen.core import camera as cameras
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base
from jax3dgen.prior import base as priors

# (a, b, c) of a exp(-b r) + c: threestudio's weights against the front from the side and back.
FRONT_SIDE, SIDE_BACK, FRONT_BACK = (4.0, 0.5, -2.426), (1.0, 0.5, -0.606), (1.0, 0.5, 0.967)


def choose(name, rescale):
  """The rule `name` ('classifier_free' or 'perp_neg'), with guidance rescale where that is not 0.
  """
  if name not in RULES:
    raise ConfigError(f'config.guide.name={name!r} is none of {", ".join(RULES)}.')
  rule = RULES[name]
  return functools.partial(rescaled, rule, rescale) if rescale else rule


def denoiser_rows(guide):
  """Rows of the denoiser per view that one guided prediction takes, by the section `guide`."""
  return {'classifier_free': 2, 'perp_neg': 4}[guide.name] + bool(guide.rescale)


def rescaled(rule, share, prior, params, x_t, t, view, scale):
  """Guidance whose standard deviation is rescaled to that of the conditional prediction.

  `share` interpolates: 1 is the rescaled one, 0 the plain one (Lin et al. 2024, Eqs. 15 and 16).
  It needs another denoiser row.
  """
  eps = rule(prior, params, x_t, t, view, scale)
  return priors.rescale(eps, prior.predict(params, x_t, t, base.rows(view)), share)


def perp_neg(prior, params, x_t, t, view, scale):
  """Perp-Neg (Armandpour et al. 2023) with threestudio's weights.

  Between two views the positive prompt is the blend of their rows; of the predictions for the views
  that it is not, the parts at right angles to the positive one are subtracted. Four rows. The
  condition must be of floats.
  """
  away = jnp.abs(cameras.wrap(view.camera.azimuth)) / (0.5 * jnp.pi)  # 0 front, 1 side, 2 back
  fore, share = away < 1, jnp.where(away < 1, 1 - away, 2 - away)
  over = view.camera.elevation > view.limits[1]
  rows = jax.tree.map(lambda row: base.repeat(row, len(x_t)), view.prompt,
                      is_leaf=lambda x: x is not view.prompt)
  first, second = _where(fore, rows.front, rows.side), _where(fore, rows.side, rows.back)
  positive = jax.tree.map(lambda a, b: priors.broadcast(share, a) * a
                          + priors.broadcast(1 - share, b) * b, first, second)
  positive = _where(over, rows.overhead, positive)
  other = _where(fore, rows.side, rows.front)
  weights = (jnp.where(fore, _fall(FRONT_SIDE, share), _fall(SIDE_BACK, share)),
             jnp.where(fore, _fall(FRONT_SIDE, 1 - share), _fall(FRONT_BACK, share)))
  null, main, *against = priors.predict_rows(prior, params, x_t, t, rows.null, positive, first,
                                             other)
  main = main - null
  total = main
  for weight, eps in zip(weights, against, strict=True):
    weight = jnp.where(over, 0.0, weight)
    total = total - priors.broadcast(weight, main) * priors.perpendicular(eps - null, main)
  return null + scale * total


def _fall(constants, share):
  a, b, c = constants
  return a * jnp.exp(-b * share) + c


def _where(mask, one, two):
  """Condition rows [B, ...]: `one` where mask [B], else `two`."""
  return jax.tree.map(lambda a, b: jnp.where(priors.broadcast(mask, a), a, b), one, two)


RULES = {'classifier_free': base.classifier_free, 'perp_neg': perp_neg}

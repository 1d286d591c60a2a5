"""SDS with RecDreamer's rectifier: `distill.usd` without the critic and its cost.

A rectifier around another objective is a file like this one.
"""

from jax3dgen.distill import rectifier, sds, usd

DEFAULTS = sds.DEFAULTS | rectifier.DEFAULTS
LATENT = sds.LATENT | usd.RECTIFIER

DISTILLATION = rectifier.rectified(sds.DISTILLATION)

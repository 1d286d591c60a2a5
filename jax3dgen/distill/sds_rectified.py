"""SDS with RecDreamer's rectifier: `distill.usd` without the critic and its cost.

A rectifier around another objective is a file like this one.
"""

from jax3dgen.distill import rectifier, sds

DEFAULTS = sds.DEFAULTS | rectifier.DEFAULTS

DISTILLATION = rectifier.rectified(sds.DISTILLATION)

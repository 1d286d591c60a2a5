"""SDS-Bridge (McAllister et al. 2024): from a source prompt for renders to the prompt.

Stage 1 is SDS towards the prompt. From `switch` steps on, g = bridge_weight w(t) (eps(x_t, prompt)
- eps(x_t, source)), where the source prompt names the flaws of renders (`Prompt.source`). The stage
follows from the step, so that a resumed run is in the right one (the authors' switch fires only at
the step itself). The weight of stage 2 in their 3D code is 1 without w: weighting 'uniform'.
"""

import jax
import jax.numpy as jnp

from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors

DEFAULTS = {
    'guidance': 4.0,  # classifier-free guidance scale of stage 1
    'switch': 960,  # first step of stage 2; the paper's is 20,000 of 25,000
    'bridge_weight': 4.0,  # of stage 2
    'weighting': 'sigma',  # w(t): sigma, sds (sigma^2), uniform (1), fantasia3d
}


def direction(key, view, prior, params, state, cfg):
  x_t, eps = base.noised(key, view, prior)
  source = base.repeat(view.prompt.source, len(x_t))
  late = view.step >= cfg.switch
  # Both stages need two rows: the prompt and, in one the empty prompt, in the other the source.
  other = jax.tree.map(lambda a, b: jnp.where(late, a, b), source,
                       base.repeat(view.prompt.null, len(x_t)))
  eps_cond, eps_other = priors.predict_rows(prior, params, x_t, view.t, base.rows(view), other)
  first = priors.guide(eps_other, eps_cond, cfg.guidance) - eps
  g = jnp.where(late, cfg.bridge_weight * (eps_cond - eps_other), first)
  g = sds.weight(cfg.weighting, prior, view.t, x_t) * g
  return g, state, base.residual(g) | {'stage': 1.0 + late}


DISTILLATION = base.stateless(direction, guided=False)

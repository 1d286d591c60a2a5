"""SDS-Bridge (McAllister et al. 2024): from a source prompt for renders to the prompt.

Stage 1 is SDS towards the prompt. From `switch` steps on, g = bridge_weight w(t) (eps(x_t, prompt)
- eps(x_t, source)), with a w of its own; the source prompt is that of the view with the flaws of
renders (`Prompt.source`). The stage follows from the step, so that a resumed run is in the right
one (the authors' switch fires only at the step itself). In their 3D code stage 2 has weight 1 and
no w.
"""

import jax
import jax.numpy as jnp

from jax3dgen.distill import base, sds
from jax3dgen.prior import base as priors

DEFAULTS = {
    'guidance': 4.0,  # classifier-free guidance scale of stage 1
    'switch': 0.8,  # first step of stage 2, or its share of the run's
    'bridge_weight': 4.0,  # of stage 2
    'bridge_weighting': 'sigma',  # w(t) of stage 2
    'negative_prompt': base.FLAWS,  # words of the flaws in the source prompt
    'weighting': 'sigma',  # w(t) of stage 1: sigma, sds (sigma^2), uniform (1), fantasia3d
}
LATENT = {'guidance': 100.0, 'weighting': 'sds', 'bridge_weight': 1.0,
          'bridge_weighting': 'uniform',
          'negative_prompt': 'oversaturated, smooth, pixelated, cartoon, foggy, hazy, blurry, '
                             'bad structure, noisy, malformed'}


def direction(key, view, prior, params, state, cfg):
  x_t, eps = base.noised(key, view, prior)
  source = base.rows_of(view, *view.prompt.source)
  late = view.step >= cfg.switch
  # Both stages need two rows: the prompt and, in one the empty prompt, in the other the source.
  other = jax.tree.map(lambda a, b: jnp.where(late, a, b), source,
                       base.repeat(view.prompt.null, len(x_t)))
  eps_cond, eps_other = priors.predict_rows(prior, params, x_t, view.t, base.rows(view), other)
  first = priors.guide(eps_other, eps_cond, cfg.guidance) - eps
  second = cfg.bridge_weight * (eps_cond - eps_other)
  w, bridge_w = (sds.weight(name, prior, view.t, x_t)
                 for name in (cfg.weighting, cfg.bridge_weighting))
  g = jnp.where(late, bridge_w * second, w * first)
  return g, state, base.residual(g) | {'stage': 1.0 + late}


DISTILLATION = base.stateless(direction, guided=False)

"""Uniform score distillation (RecDreamer Eq. 13): VSD of the rectified density.

g = w(t) (eps_guided(x_t) - eps_critic(x_t, camera)) - rect_scale w(t) sigma grad_{x_t} log r(x_t):
see `distill.vsd` and `distill.rectifier`. The published code draws fresh noise for the second term;
here both use one x_t, as in the paper. With `view_prompts` off, as in RecDreamer, all views have
the plain prompt's condition; the paper's auxiliary prompts are words of the prompt.
"""

from jax3dgen.distill import rectifier, vsd

DEFAULTS = vsd.DEFAULTS | rectifier.DEFAULTS
RECTIFIER = {'rect_scale': 1.0, 'n_ema': 100, 'decode': 0.5,  # decode 0.5 is ours: for memory
             'templates': 'prior'}
LATENT = vsd.LATENT | RECTIFIER

DISTILLATION = rectifier.rectified(vsd.DISTILLATION)

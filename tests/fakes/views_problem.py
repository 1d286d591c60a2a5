"""A problem of `recipes/multiview` with a small multi-view prior of random weights."""

import jax
import jax.numpy as jnp

from jax3dgen.prior import multiview
from jax3dgen.recipes.multiview import problem

WORDS = ['', 'front', 'side', 'back', 'view', 'from', 'above']
CONFIG = {'size': 32, 'share': 0.4, 'joint': [1],
          'denoiser': {'channels': [8, 8], 'embedding': 16, 'head_width': 8, 'expansion': 1},
          'text': {'words': 7, 'length': 4, 'width': 8, 'depth': 1, 'heads': 1}}


def make(cfg):
  """The Problem; the random last layer makes predictions that are not 0."""
  prior = multiview.make(CONFIG, WORDS)
  params = jax.jit(prior.init)(jax.random.key(0))
  last = params['denoiser']['conv_out']
  last['kernel'] = 0.1 * jax.random.normal(jax.random.key(1), jnp.shape(last['kernel']))
  draw = lambda split, count: problem.draw(split, count, cfg.objects.first)
  return problem.Problem(prior, params, draw(problem.POOL, cfg.objects.pool),
                         draw(problem.TEST, cfg.objects.test))

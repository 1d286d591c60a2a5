"""The critic of variational objectives: the prior's denoiser with adapters and a camera embedding.

It predicts the noise in noised renders, which gives the score of the distribution of renders from a
camera. Its adapters (`nn.lora`) start at the prior itself. The camera, a flattened [4, 4]
camera-to-world matrix, goes through two dense layers, of which the second starts at 0; the result
is added to the condition's `extra`, which the denoiser adds to its time embedding, or replaces it
where the prior has none. Without a layer that reads `extra`, the critic does not depend on the
camera. All zeros mean 'no camera', in a share of the examples.
"""

import re

import jax
import jax.numpy as jnp

from jax3dgen.core import rng, tree
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Cond
from jax3dgen.distill import base
from jax3dgen.nn import lora
from jax3dgen.prior import base as priors

# The layers that read a condition's `extra`: the embedded prior's and SDXL's; Stable Diffusion 1
# and 2 add it to the time embedding, whose second layer has the same width.
READERS = '(pooled|add_embedding/linear_1|time_embedding/linear_2)/kernel$'
DEFAULTS = {
    'critic_rank': 4,  # of the critic's adapters; 0: whole kernels are trained
    'critic_layers': '(self|cross|attn)',  # which kernels are adapted, by regular expression
    'critic_target': 'v',  # what the critic's loss compares: v or eps
    'camera_layer': READERS,  # the kernel that reads the condition's extra; '': none does
    'camera_dropout': 0.1,  # share of the critic's examples without a camera
}


def init(key, params, cfg):
  """The critic's trainable parameters; ConfigError where `critic_layers` matches no kernel."""
  denoiser = params['denoiser']
  adapters = lora.init(rng.stream(key, 'adapters'), denoiser, cfg.critic_rank, cfg.critic_layers)
  if not adapters:
    raise ConfigError(f'config.distill.critic_layers={cfg.critic_layers!r} matches no kernel of '
                      'the denoiser.')
  readers = [leaf for name, leaf in tree.named(denoiser).items()
             if cfg.camera_layer and re.search(cfg.camera_layer, name)]
  if not readers:
    return {'adapters': adapters}
  width = readers[0].shape[0]
  hidden = jax.random.normal(rng.stream(key, 'camera'), (16, width)) / 4
  return {'adapters': adapters, 'camera': {
      'in': hidden, 'bias': jnp.zeros(width), 'out': jnp.zeros((width, width))}}


def predict(trainable, prior, params, x_t, t, cond, cameras):
  """The critic's noise prediction [B, h, w, c]; cameras [B, 16] are flattened matrices, or zeros.
  """
  phi = params | {'denoiser': lora.merge(params['denoiser'], trainable['adapters'])}
  if 'camera' in trainable:
    layers = trainable['camera']
    hidden = jax.nn.silu(cameras @ layers['in'] + layers['bias'][None])
    embedding = hidden @ layers['out']
    cond = Cond(cond.tokens, embedding if cond.extra is None else cond.extra + embedding)
  return prior.predict(phi, x_t, t, cond)


def cameras(view):
  """The views' cameras [B, 16], the critic's input."""
  return view.camera.c2w.reshape(-1, 16)


def fit(trainable, key, view, prior, params, state, cfg):
  """The denoising loss of the critic on the renders, at noise levels of the whole safe range.

  The prompt is the one without a view phrase, and there is no guidance.
  """
  low, high = prior.schedule.safe_range
  size = view.x0.shape[:1]
  t = jax.random.uniform(rng.stream(key, 'timestep'), size, minval=low, maxval=high)
  x_t, eps = base.noised(rng.stream(key, 'noise'), view.replace(t=t, start=None), prior)
  mask = jax.random.bernoulli(rng.stream(key, 'dropout'), 1 - cfg.camera_dropout, (*size, 1))
  eps_hat = predict(trainable, prior, params, x_t, t, base.repeat(view.prompt.main, *size),
                    cameras(view) * mask)
  if cfg.critic_target == 'eps':
    return jnp.mean((eps_hat - eps)**2)
  if cfg.critic_target != 'v':
    raise ConfigError(f'config.distill.critic_target={cfg.critic_target!r} is none of v, eps.')

  def as_v(eps):
    clean = priors.x0_from_eps(prior.schedule, x_t, t, eps)
    return priors.velocity(prior.schedule, clean, t, eps)
  return jnp.mean((as_v(eps_hat) - as_v(eps))**2)

"""Supervised fine-tuning of a multi-view prior: L_simple-MV (MV-D3PO).

Axes: N objects, V views, H and W pixels, h and w rows and columns of x_0.
"""

import jax
import jax.numpy as jnp

from jax3dgen.core import rng
from jax3dgen.feedback import flow_loss
from jax3dgen.prior import base

SIDES = 4  # the first views, front, right, back, left, are references


def loss(prior, params, key, pictures, dropout):
  """`of_latents` of pictures [N, V, H, W, 3] in [0, 1]."""
  x0 = prior.encode(params, pictures.reshape(-1, *pictures.shape[2:]))
  return of_latents(prior, params, key, x0.reshape(*pictures.shape[:2], *x0.shape[1:]), dropout)


def of_latents(prior, params, key, x0, dropout):
  """`of_clean` of views x0 [N, V, h, w, c]; the reference is any of the four sides."""
  side = jax.random.randint(rng.stream(key, 'reference'), x0.shape[:1], 0, SIDES)
  return of_clean(prior, params, key, x0, x0[jnp.arange(len(x0)), side], dropout)


def of_clean(prior, params, key, x0, picture, dropout):
  """The squared error of v, mean over all entries, of clean views x0 [N, V, h, w, c].

  picture [N, h, w, c]: x_0 of the references. All views of an object and its reference share one t,
  stratified over the objects; noises are independent. The reference is left out in the share
  `dropout`. `prior` is a `prior.multiview.MultiviewPrior`; the error of v is that of eps divided by
  alpha.
  """
  count, views = x0.shape[:2]
  x0 = x0.reshape(-1, *x0.shape[2:])
  draw = lambda name, rows: jax.random.normal(rng.stream(key, name), (rows, *x0.shape[1:]))
  cond = prior.condition(params, picture, draw('reference noise', count))
  keep = jax.random.uniform(rng.stream(key, 'dropout'), (count,)) >= dropout
  cond = cond.replace(keep=jnp.repeat(keep, views))
  low, high = prior.schedule.safe_range
  place = (jnp.arange(count) + jax.random.uniform(rng.stream(key, 'level'), (count,))) / count
  t = jnp.repeat(low + (high - low) * place, views)
  eps = draw('noise', count * views)
  error = prior.predict(params, base.add_noise(prior.schedule, x0, t, eps), t, cond) - eps
  return jnp.mean(flow_loss.mean_square(error) / prior.schedule.alpha(t) ** 2)

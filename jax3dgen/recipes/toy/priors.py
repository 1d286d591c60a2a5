"""Priors of the toy studies: Gaussians on a circle, and a small network trained on such a mixture.

The network is a few dense layers (`nn/heads`) on x_t, an embedding of t and the class; its last
class is 'no class', the label of a share of the examples, for classifier-free guidance.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax3dgen.core import rng
from jax3dgen.nn import heads, layers
from jax3dgen.prior import base, gaussian

TIMES = 32  # size of the embedding of t


def circle(count, radius, std, weights=None):
  """The mixture (Prior, params) of `count` Gaussians on a circle, the first one on the x axis."""
  angle = 2 * np.pi * np.arange(count) / count
  means = radius * np.stack([np.cos(angle), np.sin(angle)], -1)
  return gaussian.mixture(means, [std] * count, [1] * count if weights is None else weights)


def network(count, schedule, scale, width):
  """(Prior, its network) for points [B, 1, 1, 2] in one of `count` classes; the network predicts v.

  Conditions are int32 [B], -1 for none; `scale` is the spread of the data.
  """
  sizes = (2 + TIMES + count + 1, width, width, width, 2)

  def velocity(params, x_t, t, cond):
    alpha, sigma = base.coefficients(schedule, t, x_t[:, 0, 0])
    x = x_t[:, 0, 0] * jax.lax.rsqrt((alpha * scale)**2 + sigma**2)
    inputs = jnp.concatenate([x, layers.time_embedding(t, TIMES), jax.nn.one_hot(
        jnp.where(cond < 0, count, cond), count + 1)], -1)
    return heads.apply(params, inputs.T).T[:, None, None, :] * scale

  prior = base.Prior(
      init=functools.partial(heads.init, widths=sizes), embed=lambda params, ids: ids,
      predict=base.as_eps(velocity, schedule, 'v'), encode=lambda params, image: image,
      decode=lambda params, x0: x0, schedule=schedule)
  return prior, velocity


def train(key, teacher, mixture, cfg):
  """(Prior, params, last mean loss) of a network trained on samples of (teacher, mixture), a
  `circle`.

  `cfg` has steps, batch, width, rate and dropout (of the class).
  """
  count = len(mixture['stds'])
  scale = float(jnp.sqrt((mixture['means']**2).mean()))
  prior, velocity = network(count, teacher.schedule, scale, cfg.width)
  params = prior.init(rng.stream(key, 'net'))
  tx = optax.adam(optax.cosine_decay_schedule(cfg.rate, cfg.steps))
  low, high = teacher.schedule.safe_range

  def loss(params, key):
    k_class, k_x, k_t, k_eps, k_drop = jax.random.split(key, 5)
    k = jax.random.categorical(k_class, mixture['log_weights'], shape=(cfg.batch,))
    x0 = gaussian.sample(k_x, mixture, k)
    t = jax.random.uniform(k_t, (cfg.batch,), minval=low, maxval=high)
    eps = jax.random.normal(k_eps, x0.shape)
    x_t = base.add_noise(teacher.schedule, x0, t, eps)
    cond = jnp.where(jax.random.bernoulli(k_drop, cfg.dropout, k.shape), -1, k)
    v = base.velocity(teacher.schedule, x0, t, eps)
    return jnp.mean((velocity(params, x_t, t, cond) - v)**2)

  def step(carry, i):
    params, opt = carry
    value, slope = jax.value_and_grad(loss)(params, jax.random.fold_in(key, i))
    update, opt = tx.update(slope, opt)
    return (optax.apply_updates(params, update), opt), value

  (params, _), losses = jax.jit(lambda start: jax.lax.scan(step, start, jnp.arange(cfg.steps)))(
      (params, tx.init(params)))
  return prior, params, float(losses[-max(cfg.steps // 10, 1):].mean())

"""One step of training the embedded prior: draw captioned images, noise them, fit v.

The images are rendered inside the step, so there is no data set and no loader. Everything random is
drawn from fold_in(seed, step), so a resumed run repeats an unbroken one. The step runs under jit,
vmap(axis_name) and pmap alike; its only collectives are the means of gradients and metrics.
"""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import optax

from jax3dgen.core import rng, tree
from jax3dgen.prior import base, schedule
from jax3dgen.train import optim


@struct.dataclass
class PriorState:
  """step [] int32 counts every attempt; ema is what is shipped and sampled from; skipped [] int32
  counts the updates skipped in a row because a gradient was not finite."""
  step: jax.Array
  params: Any
  ema: Any
  opt: Any
  skipped: jax.Array


def init_state(params, tx):
  """The state before the first step, from parameters that are new or taken over."""
  zero = jnp.zeros((), jnp.int32)
  return PriorState(zero, params, params, tx.init(params), zero)


def learning_rate(cfg):
  """Linear warm-up, flat, then a half cosine to 0 over the last `decay` of all steps."""
  decay = round(cfg.train.steps * cfg.optim.decay)
  flat = optax.linear_schedule(0.0, cfg.optim.rate, cfg.optim.warmup)
  fall = optax.cosine_decay_schedule(cfg.optim.rate, max(decay, 1))
  return optax.join_schedules([flat, fall], [cfg.train.steps - decay])


def optimiser(cfg):
  """Adam under `learning_rate`, the global gradient norm clipped."""
  return optax.chain(optax.clip_by_global_norm(cfg.optim.clip),
                     optax.adam(learning_rate(cfg), b2=cfg.optim.b2))


def noise_levels(key, batch, index, count):
  """t [batch] in [0, 1): one in each of this device's strata of the global batch."""
  stratum = index * batch + jnp.arange(batch)
  return (stratum + jax.random.uniform(key, (batch,))) / (batch * count)


def make_step(embed, velocity, draw, tx, cfg, count, axis_name=None):
  """step(state) -> (state, metrics) for one of `count` devices.

  `embed` and `velocity` are those of `prior.embedded.network`; draw(key, batch) -> (image
  [B, H, W, 3] in [0, 1], caption ids [B, L] int32). Each device draws train.batch / count examples.
  """
  batch = cfg.train.batch // count
  mean = (lambda x: jax.lax.pmean(x, axis_name)) if axis_name else (lambda x: x)
  noise = schedule.COSINE

  def loss(params, x0, ids, t, eps):
    x_t = base.noise_to(noise, x0, t, eps)
    error = velocity(params, x_t, t, embed(params, ids)) - base.velocity(noise, x0, t, eps)
    error = jnp.square(error).mean((1, 2, 3))
    weight = schedule.min_snr_v(noise, t, cfg.loss.gamma) + cfg.loss.floor
    return (weight * error).mean(), error.mean()

  def step(state):
    key = rng.on_device(rng.at_step(cfg.seed, state.step), axis_name)
    index = jax.lax.axis_index(axis_name) if axis_name else 0
    image, ids = draw(rng.stream(key, 'draw'), batch)
    x0 = 2.0 * image - 1.0
    silent = jax.random.uniform(rng.stream(key, 'dropout'), (batch,)) < cfg.loss.dropout
    ids = jnp.where(silent[:, None], 0, ids)
    t = noise_levels(rng.stream(key, 'timestep'), batch, index, count)
    eps = jax.random.normal(rng.stream(key, 'noise'), x0.shape)
    (value, error), grads = jax.value_and_grad(loss, has_aux=True)(state.params, x0, ids, t, eps)
    grads = mean(grads)
    params, opt, finite = optim.update(tx, grads, state.opt, state.params)
    decay = jnp.minimum(cfg.optim.ema, (1.0 + state.step) / (10.0 + state.step))
    bad = 1 - finite.astype(jnp.int32)
    state = PriorState(state.step + 1, params, tree.ema(state.ema, params, decay), opt,
                       (state.skipped + 1) * bad)
    metrics = mean({'loss': value, 'v_mse': error})
    return state, metrics | {
        'grad_norm': optax.tree.norm(grads), 'nonfinite': bad.astype(jnp.float32),
        'skipped': state.skipped.astype(jnp.float32)}
  return step

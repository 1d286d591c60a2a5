"""One optimiser step of any loss: gradient, update, moving average, count of skipped updates.

The step runs under jit, vmap(axis_name) and pmap alike. What the loss draws follows from (seed,
step, device), so a resumed run repeats an unbroken one.
"""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import optax

from jax3dgen.core import rng, tree
from jax3dgen.core.types import Array
from jax3dgen.train import optim


@struct.dataclass
class State:
  """step [] int32 counts every step, also a skipped one; ema is the moving average of params, opt
  the optimiser's state; skipped [] int32 counts the latest updates in a row that were skipped
  because a gradient was not finite."""
  step: Array
  params: Any
  ema: Any
  opt: Any
  skipped: Array


def start(params, tx):
  """The State before the first step of the optimiser `tx`."""
  zero = lambda: jnp.zeros((), jnp.int32)  # separate buffers: the state is donated
  return State(zero(), params, jax.tree.map(jnp.copy, params), tx.init(params), zero())


def build_step(loss, tx, seed, decay, axis_name=None, grad_norm=False):
  """step(state, *fixed) -> (state, metrics {name: []}) that lowers `loss` by the optimiser `tx`.

  loss: (params, key, *fixed) -> (value [], metrics {name: []}); it draws by `key`, which differs
  from step to step and from device to device of `axis_name`, over which gradients and metrics are
  averaged. `fixed` are arrays that it reads, such as a data set.
  decay: of the moving average, min(decay, (1 + step) / (10 + step)).
  grad_norm: whether the metrics hold the global norm of the averaged gradient.
  An update whose gradient is not finite is skipped, and the metrics say so.
  """
  mean = (lambda x: jax.lax.pmean(x, axis_name)) if axis_name else (lambda x: x)

  def step(state, *fixed):
    key = rng.on_device(rng.at_step(seed, state.step), axis_name)
    (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(state.params, key, *fixed)
    grads = mean(grads)
    params, opt, finite = optim.update(tx, grads, state.opt, state.params)
    rate = jnp.minimum(decay, (1.0 + state.step) / (10.0 + state.step))
    bad = 1 - finite.astype(jnp.int32)
    state = State(state.step + 1, params, tree.ema(state.ema, params, rate), opt,
                  (state.skipped + 1) * bad)
    metrics = mean(metrics | {'loss': value}) | {
        'nonfinite': bad.astype(jnp.float32), 'skipped': state.skipped.astype(jnp.float32)}
    return state, metrics | ({'grad_norm': optax.tree.norm(grads)} if grad_norm else {})
  return step

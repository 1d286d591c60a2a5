"""One step of training the referee: it draws its own pictures, so there is no data set.

Axes: B pictures of this device. The step runs under jit, vmap(axis_name) and pmap alike; everything
it draws follows from (seed, step, device), so a resumed run repeats an unbroken one.
"""

from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import optax

from jax3dgen.core import rng, tree
from jax3dgen.core.types import Array
from jax3dgen.data import figurines, referee_examples
from jax3dgen.nn import referee as nets
from jax3dgen.train import optim


@struct.dataclass
class RefereeState:
  """step [] int32; the trained parameters, their moving average (which is shipped) and the
  optimiser's state; skipped [] int32, the updates skipped in a row for a non-finite gradient."""
  step: Array
  params: Any
  ema: Any
  opt: Any
  skipped: Array


def network(cfg):
  """The net of the config for this world's kinds and colours."""
  return nets.Referee(len(figurines.KINDS), len(figurines.COLORS), tuple(cfg.net.widths),
                      cfg.net.hidden)


def optimiser(cfg):
  """Adam with a short warm-up and a cosine decay to 0 over all steps."""
  rate = optax.warmup_cosine_decay_schedule(0.0, cfg.optim.rate, cfg.optim.warmup, cfg.train.steps)
  return optax.chain(optax.clip_by_global_norm(cfg.optim.clip), optax.adam(rate, b2=cfg.optim.b2))


def init_state(key, net, tx):
  """The RefereeState before the first step."""
  return start(jax.jit(net.init)(key, jnp.zeros((2, nets.SIZE, nets.SIZE, 3)))['params'], tx)


def start(params, tx):
  """The RefereeState of initial parameters."""
  zero = lambda: jnp.zeros((), jnp.int32)  # buffers of their own: the state is donated
  return RefereeState(zero(), params, jax.tree.map(jnp.copy, params), tx.init(params), zero())


def objective(net, params, examples, spread_deg):
  """(loss [], its terms): cross entropies of kind, colour, azimuth and face.

  The last three count only where there is a figurine. The azimuth's labels are soft (`spread_deg`)
  and its term is their divergence, so that a perfect judge reaches 0.
  """
  out = net.apply({'params': params}, examples.images)
  real = (examples.kind < net.kinds).astype(jnp.float32)
  mean = lambda x: jnp.sum(real * x) / jnp.maximum(real.sum(), 1.0)
  hard = optax.softmax_cross_entropy_with_integer_labels
  target = nets.azimuth_target(examples.azimuth, spread_deg)
  terms = {
      'kind': hard(out.kind, examples.kind).mean(),
      'color': mean(hard(out.color, examples.color)),
      'azimuth': mean(optax.kl_divergence(jax.nn.log_softmax(out.azimuth), target)),
      'face': mean(optax.sigmoid_binary_cross_entropy(out.face, examples.face)),
  }
  return sum(terms.values()), terms


def make_step(net, tx, cfg, count, axis_name=None):
  """step(state) -> (state, metrics) for one of `count` devices; each draws train.batch / count."""
  batch = cfg.train.batch // count

  def loss(params, key):
    examples = referee_examples.draw(key, batch, cfg.views, cfg.data.strength, cfg.data.clean,
                                  cfg.data.rejects)
    return objective(net, params, examples, cfg.data.spread_deg)
  return descend(loss, tx, cfg, axis_name)


def descend(loss, tx, cfg, axis_name=None):
  """The step that lowers `loss(params, key)` -> (loss [], its terms), which draws by its `key`."""
  mean = (lambda x: jax.lax.pmean(x, axis_name)) if axis_name else (lambda x: x)

  def step(state):
    key = rng.on_device(rng.at_step(cfg.seed, state.step), axis_name)
    (value, terms), grads = jax.value_and_grad(loss, has_aux=True)(state.params, key)
    params, opt, finite = optim.update(tx, mean(grads), state.opt, state.params)
    decay = jnp.minimum(cfg.optim.ema, (1.0 + state.step) / (10.0 + state.step))
    bad = 1 - finite.astype(jnp.int32)
    state = RefereeState(state.step + 1, params, tree.ema(state.ema, params, decay), opt,
                         (state.skipped + 1) * bad)
    return state, mean(terms | {'loss': value}) | {
        'nonfinite': bad.astype(jnp.float32), 'skipped': state.skipped.astype(jnp.float32)}
  return step

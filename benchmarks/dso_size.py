"""Work and memory of a step of preference tuning of TRELLIS-image-large, by shapes alone.

  python -m benchmarks.dso_size

No weights, nothing of full size is allocated. The step is that of `configs/dso.py:trellis` (LoRA
of rank 64, 48 pairs, blocks of the flow transformer recomputed in the backward pass) on one device.
Its work is counted in the traced step, as in `benchmarks.flops`. The memory beside the arguments is
XLA's plan of that step for a CPU with a flow of one block, which is compiled, and the inputs of the
other 23 blocks, which are all that the backward pass needs of them; XLA for CPUs would not
recompute them. A CPU computes bfloat16 products in float32, so that its plan for them is an upper
bound. Arguments are the parameters, adapters with their optimiser, and a pool of --images images
with four samples each.
"""

import argparse

import jax
import jax.numpy as jnp

from benchmarks import flops
from configs import dso
from jax3dgen.core import tree
from jax3dgen.core.types import Cond
from jax3dgen.feedback import pairs
from jax3dgen.nn import dit
from jax3dgen.recipes.preference import adapters, tune, tuning
from jax3dgen.train import descent

SHAPE, TOKENS = (16, 16, 16, 8), 1374
DEPTH = 24
GIB = 2**30


def parts(loss, dtype, depth, batch, images):
  """(step, its arguments as shapes, the forward pass of its rows, that one's arguments)."""
  cfg = dso.get_config('trellis')
  cfg.loss.name, cfg.train.batch = loss, batch
  net = dit.FlowTransformer(depth=depth, remat=True, dtype=dtype, param_dtype=dtype)
  shape = jax.ShapeDtypeStruct
  x, t = shape((2 * batch, *SHAPE), jnp.float32), shape((2 * batch,), jnp.float32)
  tokens = shape((2 * batch, TOKENS, net.context), jnp.float32)
  params = {'flow': jax.eval_shape(net.init, jax.random.key(0), x, t, tokens)['params']}
  velocity = lambda p, x, t, cond: net.apply({'params': p['flow']}, x, 1000 * t, cond.tokens)
  tx = tuning.optimiser(cfg)
  state = jax.eval_shape(lambda p: descent.start(adapters.start(p, cfg.lora, 0), tx),
                         params['flow'])
  samples = images * cfg.pool.samples
  pool = {'latent': shape((samples, *SHAPE), jnp.float32),
          'cond': Cond(shape((images, TOKENS, net.context), jnp.float32))}
  member = lambda size: pairs.Members(shape((images, size), jnp.int32), shape((images,), jnp.int32))
  table = pairs.Table(member(2), member(2), member(1))
  step = descent.build_step(tune.objective(velocity, cfg, 1), tx, 0, 0.0, grad_norm=True)
  return step, (state, params, pool, table), velocity, (params, x, t, Cond(tokens))


def measure(loss, dtype, batch, images):
  """{'parameters', 'adapters': entries, 'step', 'forward': FLOP, 'arguments', 'beside': bytes}."""
  step, args, velocity, inputs = parts(loss, dtype, DEPTH, batch, images)
  work = lambda function, given: flops.flops(jax.make_jaxpr(function)(*given))
  compiled = lambda step, state, *fixed: jax.jit(step, donate_argnums=0).lower(
      state, *fixed).compile().memory_analysis()
  one, short, *_ = parts(loss, dtype, 1, batch, images)
  stats = compiled(one, *short)
  stream = 2 * batch * SHAPE[0]**3 * dit.FlowTransformer.width * 4  # float32 whatever the dtype
  return {'parameters': tree.count(args[1]), 'adapters': tree.count(args[0].params),
          'step': work(step, args), 'forward': work(velocity, inputs),
          'arguments': sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(args)),
          'beside': (stats.output_size_in_bytes + stats.temp_size_in_bytes
                     - stats.alias_size_in_bytes + (DEPTH - 1) * stream)}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--batch', type=int, default=48, help='pairs of a step')
  parser.add_argument('--images', type=int, default=1000, help='images of the pool')
  args = parser.parse_args()
  print('| loss | dtype | TFLOP of a step | forward passes | GiB of arguments | GiB beside them |\n'
        '|---|---|---|---|---|---|')
  for loss in ('dro', 'dpo'):
    for dtype in (jnp.float32, jnp.bfloat16):
      row = measure(loss, dtype, args.batch, args.images)
      print(f'| {loss} | {jnp.dtype(dtype).name} | {row["step"] / 1e12:.0f} | '
            f'{row["step"] / row["forward"]:.2f} | {row["arguments"] / GIB:.1f} | '
            f'{row["beside"] / GIB:.1f} |', flush=True)
  print(f'{row["parameters"]:,} parameters, {row["adapters"]:,} of adapters')


if __name__ == '__main__':
  main()

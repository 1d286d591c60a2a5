"""The cost of a training step of each objective relative to SDS, on one core.

  python -m benchmarks.objectives
  python -m benchmarks.objectives sds vsd usd

The whole training step at the settings of `configs/compare_janus.py`; the steps of all objectives
take turns. Rows of the denoiser are counted per view while a step is traced: forward, those that
gradients go back through, and those of them that the weights' gradients are taken of. (Inversions
loop inside the program and are counted once.)
"""

import argparse
import json
import os

from benchmarks import timing

DETACHED = 'sds_rectified_detached'
NAMES = ('sds', 'sds_rectified', 'sds_rectified_conditional', DETACHED, 'vsd', 'usd',
         'usd_conditional', 'esd', 'jsd', 'sds_bridge')
LIMITS = (('sds_rectified_conditional', 'sds', 1.4), (DETACHED, 'sds', 1.1), ('vsd', 'sds', 2.2),
          ('usd_conditional', 'vsd', 1.3))


def count_rows(prior, counts):
  """The prior; each prediction adds its rows to `counts` while it is traced."""
  import jax

  @jax.custom_vjp
  def predict(params, x_t, t, cond):
    counts['forward'] += len(x_t)
    return prior.predict(params, x_t, t, cond)

  def forward(*arguments):
    params, x_t, t, cond = (jax.tree.map(lambda x: x.value, part, is_leaf=_primal)
                            for part in arguments)
    weights = any(x.perturbed for x in jax.tree.leaves(arguments[0], is_leaf=_primal))
    counts['forward'] += len(x_t)
    out, pull = jax.vjp(prior.predict, params, x_t, t, cond)
    return out, (pull, len(x_t) if weights else 0)

  def backward(residuals, g):
    pull, weights = residuals
    counts['backward'] += len(g)
    counts['weights'] += weights
    return pull(g)
  predict.defvjp(forward, backward, symbolic_zeros=True)
  return prior._replace(predict=predict)


def _primal(x):
  return hasattr(x, 'perturbed')


def parts_of(name):
  """The Parts of a run of a method of `configs/compare_janus.py` at its settings."""
  from configs import compare_janus
  from jax3dgen.recipes.compare import run as compare
  from jax3dgen.recipes.distill import parts as distill_parts
  return distill_parts.build(compare.method_config(compare_janus.get_config(), name))


def rows(parts):
  """(rows forward, rows that gradients go back through, those of them with the weights' gradients)
  of the denoiser, for each view of a step, as traced."""
  import jax

  from jax3dgen.core import parallel
  from jax3dgen.recipes.distill import parts as distill_parts
  counts = {'forward': 0, 'backward': 0, 'weights': 0}
  step = distill_parts.field_step(parts._replace(prior=count_rows(parts.prior, counts)), None)
  jax.eval_shape(step, parts.state, parts.params, parts.prompt, jax.random.key(0))
  return [count / parts.cfg.train.batch * parallel.device_count()
          for count in counts.values()]


def measure(turns, names):
  """{objective: (processor ms, wall ms, *`rows`)}."""
  import jax

  from jax3dgen.recipes.distill import parts as distill_parts
  steps, traced = {}, {}
  for name in names:
    parts = parts_of(name)
    args = parts.state, parts.params, parts.prompt, jax.random.key(0)
    traced[name] = rows(parts)
    step = jax.jit(distill_parts.field_step(parts, None))
    steps[name] = lambda step=step, args=args: jax.block_until_ready(step(*args))
  return {name: (*times, *traced[name])
          for name, times in timing.interleaved(steps, turns).items()}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('names', nargs='*', default=NAMES, help='methods; the first is the reference')
  parser.add_argument('--turns', type=int, default=9, help='measurements of each objective')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.turns, args.names)))
    return
  print(f'load average {os.getloadavg()[0]:.1f}; one core, processor time')
  figures = timing.pinned('benchmarks.objectives', 1, '--child', '--turns', args.turns, *args.names)
  first = args.names[0]
  for name, (cpu, _, forward, backward, weights) in figures.items():
    print(f'{name:<26}{cpu:7.1f} ms {cpu / figures[first][0]:6.2f}x {first} {forward:5.0f} rows '
          f'{backward:3.0f} back {weights:3.0f} with weights')
  for name, other, limit in LIMITS:
    if {name, other} <= set(args.names):
      print(f'{name} / {other}: {figures[name][0] / figures[other][0]:.2f} (goal {limit})')


if __name__ == '__main__':
  main()

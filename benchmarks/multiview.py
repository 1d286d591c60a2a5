"""Five views and their reference in one prediction against six images of the plain U-Net.

  python -m benchmarks.multiview

The embedded prior's sizes, float32, the weights before training; both in one process, in turn.
Joint attention over the views and the keys of the reference are what a prediction of the multi-view
prior costs beside the six passes. Each figure is the time that a quarter of the turns stays below.
"""

import argparse
import json
import os

from benchmarks import timing

GOAL = 1.25  # largest ratio


def measure(objects, turns):
  """{what: (processor ms, wall ms)} on the cores that this process is pinned to."""
  import jax
  import jax.numpy as jnp

  from jax3dgen.core import tree
  from jax3dgen.prior import embedded, multiview
  from jax3dgen.recipes.nets import multiview as recipe

  cfg = recipe.default_config()
  sizes, words, plain_params = recipe.net_config(cfg)
  prior, plain = multiview.make(sizes, words), embedded.make(sizes)
  params = tree.join(plain_params, recipe.init(cfg))
  normal = lambda rows: jax.random.normal(jax.random.key(1), (rows, 32, 32, 3))
  cond = jax.jit(prior.embed)(params, jnp.ones((objects, 32, 32, 3)))
  rows = objects * (multiview.VIEWS + 1)
  captions = jax.jit(plain.embed)(plain_params, jnp.zeros((rows, sizes['text']['length']), int))

  def call(predict, params, rows, cond):
    x, t, predict = normal(rows), jnp.full(rows, 0.5), jax.jit(predict)
    return lambda: jax.block_until_ready(predict(params, x, t, cond))
  return timing.interleaved({'multiview': call(prior.predict, params, rows - objects, cond),
                             'plain': call(plain.predict, plain_params, rows, captions)}, turns)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=25, help='measurements of each net')
  parser.add_argument('--objects', type=int, default=4, help='objects in a call')
  parser.add_argument('--cores', type=int, default=1, help='number of cores')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.objects, args.turns)))
    return
  print(f'load average {os.getloadavg()[0]:.1f}; {args.cores} cores')
  times = timing.pinned('benchmarks.multiview', args.cores, '--child', '--objects', args.objects,
                        '--turns', args.turns)
  (cpu, wall), (plain_cpu, plain_wall) = times['multiview'], times['plain']
  print(f'{args.objects} objects: five views and reference {wall:.0f} ms, six plain images '
        f'{plain_wall:.0f} ms: {wall / plain_wall:.2f}x (goal {GOAL}); processor time '
        f'{cpu / plain_cpu:.2f}x')


if __name__ == '__main__':
  main()

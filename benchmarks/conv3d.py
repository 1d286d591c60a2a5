"""The 3D convolution against the library's (`lax.conv_general_dilated`) on CPU cores.

  python -m benchmarks.conv3d

Float32, kernels of 3 x 3 x 3, in grids of a small autoencoder and of TRELLIS's decoder: forward,
and forward with both gradients. The two take turns in one process. Each figure is the wall time
that a quarter of the turns stays below. With 512 channels, which are not measured, both have the
speed of a matrix product.
"""

import argparse
import json
import os

from benchmarks import timing

# (samples, voxels per side, channels) and whether the gradients are measured as well.
CASES = [((8, 8, 64), True), ((8, 16, 16), True), ((8, 32, 8), True), ((1, 32, 128), False),
         ((1, 64, 32), False)]
GOAL = 2.5  # smallest ratio of the library's time to that of `conv3d.convolve`


def measure(turns):
  """[(case, 'forward' or 'gradient', {name: (processor ms, wall ms)})]."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from jax3dgen.nn import conv3d

  library = lambda x, kernel: jax.lax.conv_general_dilated(
      x, kernel, (1, 1, 1), 'SAME', dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'))
  gradient = lambda f: jax.value_and_grad(lambda x, k: jnp.sum(jnp.square(f(x, k))), (0, 1))
  rng, rows = np.random.default_rng(0), []
  for (batch, side, channels), slopes in CASES:
    x, kernel = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (
        (batch, side, side, side, channels), (3, 3, 3, channels, channels)))
    for what, wrap in [('forward', lambda f: f), ('gradient', gradient)][:1 + slopes]:
      compiled = {name: jax.jit(wrap(f)) for name, f in (('ours', conv3d.convolve),
                                                         ('library', library))}
      ours, expected = (f(x, kernel) for f in compiled.values())
      for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())
      times = timing.interleaved(
          {name: lambda f=f, x=x, kernel=kernel: jax.block_until_ready(f(x, kernel))
           for name, f in compiled.items()}, turns)
      rows.append(((batch, side, channels), what, times))
  return rows


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=9, help='measurements of each')
  parser.add_argument('--cores', type=int, default=2, help='number of cores')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps(measure(args.turns)))
    return
  print(f'load average {os.getloadavg()[0]:.1f}; {args.cores} cores')
  for (batch, side, channels), what, times in timing.pinned(
      'benchmarks.conv3d', args.cores, '--child', '--turns', args.turns):
    ours, library = times['ours'][1], times['library'][1]
    print(f'{batch} x {side:2}^3 x {channels:<3} {what:<8} {ours:6.1f} ms, library {library:7.1f} '
          f'ms: {library / ours:.1f}x (goal {GOAL})')


if __name__ == '__main__':
  main()
